"""The tables of experiments, trials, and who works on them; what is measured lies in those of measured_models.py."""

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    and_,
    literal_column,
    text,
)

from service.store.column_types import Flag, Json, Key, Real, UtcTime
from service.store.tables import table

_WAITS, _RUNS = text("state = 'queued' AND queued_for IS NOT NULL"), text("state = 'running'")
_BEGINS, _FOLLOWS = text("beginning IS NOT NULL"), text("follows IS NOT NULL")
_QUEUED = text("state = 'queued'")
_ENDED, _FAILED = text("ended_at IS NOT NULL"), text("state = 'failed'")
_UNSENT = text("next_at IS NOT NULL")
_HELD_BACK = text("deleted_at IS NOT NULL OR unsettled_from IS NOT NULL")

settings = table(
    "settings",
    Column("id", Key, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("stack_key", Text, nullable=False),
    Column("document", Json, nullable=False),
    # names of its network's layers, in the order of their numbers; null where they have numbers alone
    Column("layers", Json),
    sqlite_autoincrement=True,
)

trial = table(
    "trial",
    Column("id", Key, primary_key=True),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("settings_id", Key, ForeignKey("settings.id"), nullable=False, index=True),
    Column("seed", Key, nullable=False),
    Column("stack_key", Text, nullable=False),
    # auto, cpu or gpu: which trainers may have it
    Column("device", Text, nullable=False, server_default=text("'auto'")),
    Column("state", Text, nullable=False),
    # the fence: raised by every lease, checked by every write
    Column("attempt", Key, nullable=False, server_default=text("0")),
    # charged: crashes while alone, refused settings
    Column("failures", Key, nullable=False, server_default=text("0")),
    # not charged: nodes lost under it
    Column("interruptions", Key, nullable=False, server_default=text("0")),
    # at most so many lanes in its next stack, since a larger one crashed; 0: any number
    Column("stack_limit", Key, nullable=False, server_default=text("0")),
    # rows up to here belong to its checkpoint; -1: it has none
    Column("checkpoint_step", Key, nullable=False, server_default=text("-1")),
    # its last state is to be kept, for a longer trial to go on from
    Column("keeps", Flag, nullable=False, server_default=text("false")),
    # the key of what its first steps follow from, whatever its length; null: nothing shares them
    Column("beginning", Text),
    # waits to go on from where this trial ends: it is no foreign key, since that one may be deleted meanwhile
    Column("follows", Key),
    # of one that goes on from another's state: trial, fingerprint and step
    Column("continued_from", Json),
    # its measurements were thinned to every so many of its steps; 1: they were not
    Column("kept_every", Key, nullable=False, server_default=text("1")),
    # on whose behalf it is queued: the unpaused experiment of highest priority that wants it; null: nobody's
    Column("queued_for", Key),
    Column("priority", Key, nullable=False, server_default=text("0")),
    # who runs it; its lease is the holder's
    Column("owner", Text),
    # a time of its own: of leases by versions before 0.2, and of one that is to run out at once; null: the holder's
    Column("lease_until", Real),
    Column("lease_clock", Text),
    Column("last_step", Key),
    Column("error", Text),
    Column("provenance", Json),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    # what waits and may be leased; queries must spell these conditions out as the models' `waits` and `runs` do
    Index("ix_trial_queue", "priority", "queued_for", "id", "device", sqlite_where=_WAITS, postgresql_where=_WAITS),
    Index(
        "ix_trial_stack_queue",
        *("stack_key", "priority", "queued_for", "id"),
        sqlite_where=_WAITS,
        postgresql_where=_WAITS,
    ),
    Index("ix_trial_running", "queued_for", sqlite_where=_RUNS, postgresql_where=_RUNS),
    Index(
        "ix_trial_held",
        *("owner", "lease_clock", "lease_until"),
        sqlite_where=_RUNS,
        postgresql_where=_RUNS,
    ),
    Index("ix_trial_beginning", "beginning", sqlite_where=_BEGINS, postgresql_where=_BEGINS),
    Index("ix_trial_follows", "follows", sqlite_where=_FOLLOWS, postgresql_where=_FOLLOWS),
    # what ended lately, and what failed
    Index("ix_trial_ended", "ended_at", sqlite_where=_ENDED, postgresql_where=_ENDED),
    Index("ix_trial_failed", "ended_at", sqlite_where=_FAILED, postgresql_where=_FAILED),
    sqlite_autoincrement=True,
)

measured_range = table(
    "measured_range",
    # on PostgreSQL the measured rows of these trials lie in tables of their own; see partitions.py
    Column("first", Key, primary_key=True, autoincrement=False),
    # the first key after them
    Column("below", Key, nullable=False),
    # of trials that are deleted here the rows stay, until all go at once or it turns out that some trials stay
    Column("leaving", Flag, nullable=False),
    # since when no trial was there; null: there may be some
    Column("emptied_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
)

waits = and_(trial.c.state == literal_column("'queued'"), trial.c.queued_for.is_not(None))
"""Trials that may be leased. Literal, since neither database matches a bound value with an index's condition."""

runs = trial.c.state == literal_column("'running'")
"""Trials under a lease."""

holder = table(
    "holder",
    # until when a dispatcher holds what runs under its name, by which clock
    Column("owner", Text, primary_key=True),
    Column("until", Real, nullable=False),
    Column("clock", Text, nullable=False),
)

taken_trial = table(
    "taken_trial",
    # what was taken from its holder, who learns of it when it renews
    Column("owner", Text, primary_key=True),
    Column("trial_id", Key, primary_key=True, autoincrement=False),
    Column("attempt", Key, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

experiment = table(
    "experiment",
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("tags", Json, nullable=False),
    Column("priority", Key, nullable=False),
    Column("paused", Flag, nullable=False),
    Column("grid", Json, nullable=False),
    Column("axes", Json, nullable=False),
    Column("claims", Json, nullable=False),
    Column("trials", Key, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    # when a dispatcher last leased on its behalf, for taking turns
    Column("leased_at", UtcTime),
    # whether a dispatcher looks, once its trials have ended, for what to train next
    Column("searching", Flag, nullable=False, server_default=text("false")),
    # place of a search -> why it ended before it was done
    Column("stopped", Json),
    Column("starred", Flag, nullable=False, server_default=text("false")),
    # it is gone for everybody, and its rows are being deleted
    Column("deleted_at", UtcTime),
    # its trials from this position on have yet to follow what was decided about it; null: none; see settling.py
    Column("unsettled_from", Key),
    # these are cancelled for it, although their rows do not say so yet
    Column("stopping", Flag, nullable=False, server_default=text("false")),
    # for triggers of SQLite, which would read the whole grid for what stands behind it
    Index("ix_experiment_created", "id", "created_at"),
    Index("ix_experiment_held_back", "id", sqlite_where=_HELD_BACK, postgresql_where=_HELD_BACK),
    sqlite_autoincrement=True,
)

is_there = experiment.c.deleted_at.is_(None)
"""Experiments that nobody has deleted."""

is_held_back = literal_column("(deleted_at IS NOT NULL OR unsettled_from IS NOT NULL)")
"""Experiments of which some trials' rows have yet to follow what was decided; literal, as the index has it."""

# what trials amount to, kept by triggers; see tallies.py. Experiment 0 is all trials, each once
tally = table(
    "tally",
    Column("experiment_id", Key, primary_key=True, autoincrement=False),
    # as the experiment sees it: what it does not want is cancelled
    Column("state", Text, primary_key=True),
    # the backend of PostgreSQL that adds to it: what counts is the sum over slots
    Column("slot", Key, primary_key=True, autoincrement=False),
    Column("trials", Key, nullable=False, server_default=text("0")),
    # steps of ended trials, and those that open ones are to do
    Column("done", Key, nullable=False, server_default=text("0")),
    Column("goal", Key, nullable=False, server_default=text("0")),
    # steps done by trials that started since the experiment was made
    Column("own", Key, nullable=False, server_default=text("0")),
    # raised by every change
    Column("changes", Key, nullable=False, server_default=text("0")),
    Column("first_started", UtcTime),
    Column("last_ended", UtcTime),
    sqlite_with_rowid=False,
)

saved_view = table(
    "saved_view",
    Column("id", Key, primary_key=True),
    Column("experiment_id", Key, ForeignKey("experiment.id"), nullable=False),
    Column("name", Text, nullable=False),
    # of the address of the experiment's page
    Column("parameters", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("experiment_id", "name"),
)

subscription = table(
    "subscription",
    # no foreign key: deleting an experiment waits for nobody, and what is left over is dropped now and then
    Column("experiment_id", Key, primary_key=True, autoincrement=False),
    Column("url", Text, primary_key=True),
    Column("event", Text, primary_key=True),
    # not yet told
    Column("is_open", Flag, nullable=False),
)

notification = table(
    "notification",
    Column("id", Key, primary_key=True),
    # no foreign key: what was to be told is told after the experiment is gone
    Column("experiment_id", Key, nullable=False, index=True),
    Column("event", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Json, nullable=False),
    Column("attempts", Key, nullable=False),
    # when it is sent, or sent again; null: delivered or given up
    Column("next_at", UtcTime),
    Column("delivered_at", UtcTime),
    Column("error", Text),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_notification_next", "next_at", sqlite_where=_UNSENT, postgresql_where=_UNSENT),
    sqlite_autoincrement=True,
)

traced = table(
    "traced",
    # no foreign key, as of subscriptions
    Column("experiment_id", Key, primary_key=True, autoincrement=False),
    # when its request came
    Column("began_at", UtcTime, nullable=False),
    # the request's `traceparent`
    Column("caller", Text),
    # somebody is sending its root until then
    Column("taken_until", UtcTime),
)

experiment_trial = table(
    "experiment_trial",
    Column("experiment_id", Key, ForeignKey("experiment.id"), primary_key=True),
    Column("position", Key, primary_key=True),
    Column("trial_id", Key, ForeignKey("trial.id"), nullable=False, index=True),
    Column("wanted", Flag, nullable=False),
    UniqueConstraint("experiment_id", "trial_id"),
)

search_round = table(
    "search_round",
    # what dispatchers added to a grid that asks for something to be found; the first round is the grid itself
    Column("experiment_id", Key, ForeignKey("experiment.id"), primary_key=True, autoincrement=False),
    Column("number", Key, primary_key=True, autoincrement=False),
    # points with their seeds
    Column("additions", Json, nullable=False),
    # place of a search -> trials that were added for it
    Column("added", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

attempt = table(
    "attempt",
    Column("trial_id", Key, ForeignKey("trial.id"), primary_key=True, autoincrement=False),
    Column("number", Key, primary_key=True, autoincrement=False),
    Column("dispatcher", Text, nullable=False),
    # where its trainer runs, once it has one
    Column("host", Text),
    Column("node", Text),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    # a state it ended in, or what took the trial from its holder
    Column("outcome", Text),
    Column("error", Text),
    sqlite_with_rowid=False,
)


remeasurement = table(
    "remeasurement",
    Column("id", Key, primary_key=True),
    # null once the experiment is deleted: what was measured for it stays with trials of other experiments
    Column("experiment_id", Key, ForeignKey("experiment.id"), index=True),
    # metrics, layers, exponents, at, and what it left out
    Column("asked", Json, nullable=False),
    # of everything equal in it nothing is measured twice
    Column("digest", Text, nullable=False, index=True),
    # metric -> version of its definition, which every number measured for it has
    Column("definitions", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("leased_at", UtcTime),
    sqlite_autoincrement=True,
)

remeasured_trial = table(
    "remeasured_trial",
    Column("id", Key, primary_key=True),
    Column("remeasurement_id", Key, ForeignKey("remeasurement.id"), nullable=False),
    Column("trial_id", Key, ForeignKey("trial.id"), nullable=False, index=True),
    # of the trial, when it was asked for: one that was trained again since is another one
    Column("trial_attempt", Key, nullable=False),
    Column("steps", Json, nullable=False),
    Column("stack_key", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("state", Text, nullable=False),
    # the fence, as of a trial
    Column("attempt", Key, nullable=False, server_default=text("0")),
    Column("failures", Key, nullable=False, server_default=text("0")),
    Column("stack_limit", Key, nullable=False, server_default=text("0")),
    Column("owner", Text),
    Column("lease_until", Real),
    Column("lease_clock", Text),
    # metrics whose numbers by an older definition were replaced
    Column("replaced", Json),
    Column("error", Text),
    Column("ended_at", UtcTime),
    UniqueConstraint("remeasurement_id", "trial_id"),
    Index(
        "ix_remeasured_trial_queue",
        *("remeasurement_id", "stack_key", "id"),
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    ),
    Index("ix_remeasured_trial_running", "id", sqlite_where=_RUNS, postgresql_where=_RUNS),
    sqlite_autoincrement=True,
)


dispatcher = table(
    "dispatcher",
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Key, nullable=False),
    Column("slots", Key, nullable=False),
    Column("resources", Json, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
)

dataset = table(
    "dataset",
    Column("sha256", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("arrays", Json, nullable=False),
    # what its columns became, what was left out, and which losses can read its targets; null: read before 0.2
    Column("facts", Json),
    Column("content", LargeBinary, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    # who uploaded it first, and what it holds; null: kept before owners had a limit
    Column("owner", Text),
    Column("bytes", Key),
    Index("ix_dataset_owner", "owner", "bytes"),
)

idempotency = table(
    "idempotency",
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_digest", Text, nullable=False),
    Column("experiment_id", Key, nullable=False),
    Column("answer", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

token = table(
    "token",
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("last_used_at", UtcTime),
    Column("revoked_at", UtcTime),
)

# one row, replaced when a backup is restored: what dispatchers leased before that counts no more
incarnation = table("incarnation", Column("id", Text, primary_key=True))
