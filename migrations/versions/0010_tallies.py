"""What trials amount to is kept, per experiment and state, by the transactions that change them; deletes are marked.

Why: every look at an experiment of 100,000 trials counted them all, 70 to 140 ms each time. Triggers keep the sums,
whoever changes a trial, older versions of the service included. On PostgreSQL every backend adds to rows of its own
(`slot`), so that nobody waits for anybody; their sum is what counts. Experiment 0 is all trials, each once.
A deleted experiment is gone at once (`deleted_at`); its rows follow some at a time.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Key, UtcTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NUMBERS = ("trials", "done", "goal", "own", "changes")
_ENDED = "('completed', 'diverged', 'failed', 'cancelled')"
_TRAINED = "('completed', 'diverged', 'running')"
_DIFFERS = ("state", "attempt", "kept_every", "last_step", "started_at", "ended_at")
_SQLITE = {
    "tally_trial_insert": "INSERT ON trial",
    "tally_trial_delete": "DELETE ON trial",
    "tally_trial_update": "UPDATE OF state ON trial",
    "tally_links_of_trial": f"UPDATE OF {', '.join(_DIFFERS)} ON trial",
    "tally_link_insert": "INSERT ON experiment_trial",
    "tally_link_delete": "DELETE ON experiment_trial",
    "tally_link_update": "UPDATE OF wanted ON experiment_trial",
}
_OLD, _NEW = "REFERENCING OLD TABLE AS old_rows", "REFERENCING NEW TABLE AS new_rows"
_POSTGRESQL = {"INSERT": _NEW, "DELETE": _OLD, "UPDATE": f"{_OLD} NEW TABLE AS new_rows"}


def upgrade() -> None:
    """Make the table, count what is there, and let triggers go on."""
    op.add_column("experiment", sa.Column("deleted_at", UtcTime))
    op.create_table(
        "tally",
        sa.Column("experiment_id", Key, nullable=False, autoincrement=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("slot", Key, nullable=False, autoincrement=False),
        *(sa.Column(name, Key, nullable=False, server_default=sa.text("0")) for name in _NUMBERS),
        sa.Column("first_started", UtcTime),
        sa.Column("last_ended", UtcTime),
        sa.PrimaryKeyConstraint("experiment_id", "state", "slot", name="pk_tally"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":
        # rows are updated in place, however often
        op.execute(
            "ALTER TABLE tally SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, "
            "autovacuum_vacuum_threshold = 1000)"
        )
        trigger_postgresql()
    else:
        _trigger_sqlite()
    joined = "trial one JOIN experiment_trial link ON link.trial_id = one.id"
    op.execute(_added([_linked(joined, "one", "link", 1), _all("trial one", "one", 1)]))


def downgrade() -> None:
    """Count at every look again; what was being deleted is there again, as far as it is left."""
    if op.get_bind().dialect.name == "postgresql":
        drop_postgresql()
    else:
        for name in _SQLITE:
            op.execute(f"DROP TRIGGER {name}")
    op.drop_table("tally")
    op.drop_column("experiment", "deleted_at")


def drop_postgresql() -> None:
    """Count nothing any more."""
    for table in ("trial", "experiment_trial"):
        for event in _POSTGRESQL:
            op.execute(f"DROP TRIGGER tally_{event.lower()} ON {table}")
    op.execute("DROP FUNCTION tally_trials()")
    op.execute("DROP FUNCTION tally_links()")


def trigger_postgresql() -> None:
    """One statement for all rows of a statement."""
    # rows before and after are never joined: what did not change adds up to nothing, while a plan made for a few rows
    # goes on for thousands
    links = "JOIN experiment_trial link ON link.trial_id = one.id"
    both = ((-1, "old_rows"), (1, "new_rows"))
    trials = [
        *(_linked(f"{rows} one {links}", "one", "link", sign) for sign, rows in both),
        *(_all(f"{rows} one", "one", sign) for sign, rows in both),
    ]
    wanted = [
        _linked(f"{rows} link JOIN trial one ON one.id = link.trial_id", "one", "link", sign) for sign, rows in both
    ]
    of_link = "link JOIN trial one ON one.id = link.trial_id"
    _function("tally_trials", _all("new_rows one", "one", 1), _all("old_rows one", "one", -1), trials)
    _function(
        "tally_links",
        _linked(f"new_rows {of_link}", "one", "link", 1),
        _linked(f"old_rows {of_link}", "one", "link", -1),
        wanted,
        # whoever changes such a trial does not see these links yet: we count it as it is once that is committed
        "PERFORM 1 FROM trial WHERE id IN (SELECT trial_id FROM new_rows) AND state <> 'completed' "
        "AND xmin <> pg_current_xact_id()::xid ORDER BY id FOR NO KEY UPDATE;",
    )
    for table, function in (("trial", "tally_trials"), ("experiment_trial", "tally_links")):
        for event, rows in _POSTGRESQL.items():
            op.execute(
                f"CREATE TRIGGER tally_{event.lower()} AFTER {event} ON {table} {rows} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            )


def _function(name: str, inserted: str, deleted: str, updated: list[str], first: str = "") -> None:
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN {first} {_added([inserted])}; "
        f"ELSIF TG_OP = 'DELETE' THEN {_added([deleted])}; "
        f"ELSE {first} {_added(updated)}; END IF; RETURN NULL; END $$"
    )


def _trigger_sqlite() -> None:
    """A statement for each row and kind of change."""
    links = "experiment_trial link"
    own = {sign: f"link.trial_id = {row}.id" for sign, row in ((-1, "OLD"), (1, "NEW"))}
    of_link = {row: f"trial one ON one.id = {row}.trial_id" for row in ("OLD", "NEW")}
    minus = _linked(f"(SELECT 1) JOIN {of_link['OLD']}", "one", "OLD", -1)
    plus = _linked(f"(SELECT 1) JOIN {of_link['NEW']}", "one", "NEW", 1)
    bodies = {
        "tally_trial_insert": [_all("(SELECT 1)", "NEW", 1)],
        "tally_trial_delete": [_all("(SELECT 1)", "OLD", -1)],
        "tally_trial_update": [_all("(SELECT 1)", "OLD", -1), _all("(SELECT 1)", "NEW", 1)],
        "tally_links_of_trial": [
            _linked(links, "OLD", "link", -1, own[-1]),
            _linked(links, "NEW", "link", 1, own[1]),
        ],
        "tally_link_insert": [plus],
        "tally_link_delete": [minus],
        "tally_link_update": [minus, plus],
    }
    differing = {
        "tally_trial_update": ("state",),
        "tally_links_of_trial": _DIFFERS,
        "tally_link_update": ("wanted",),
    }
    for name, event in _SQLITE.items():
        names = differing.get(name, ())
        when = f"WHEN {' OR '.join(f'OLD.{one} IS NOT NEW.{one}' for one in names)}" if names else ""
        body = " ".join(f"{_added([rows])};" for rows in bodies[name])
        op.execute(f"CREATE TRIGGER {name} AFTER {event} FOR EACH ROW {when} BEGIN {body} END")


def _added(rows: list[str]) -> str:
    """INSERT of rows into the tally, summed; on PostgreSQL into rows of this backend."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    least, greatest = ("least", "greatest") if is_postgresql else ("min", "max")
    both = {"first_started": least, "last_ended": greatest}
    sums = ", ".join(f"{name} = tally.{name} + excluded.{name}" for name in _NUMBERS)
    # of two of which one may be null, on both databases
    times = ", ".join(
        f"{name} = coalesce({which}(tally.{name}, excluded.{name}), tally.{name}, excluded.{name})"
        for name, which in both.items()
    )
    return (
        f"INSERT INTO tally (experiment_id, state, slot, {', '.join(_NUMBERS)}, first_started, last_ended) "
        f"SELECT experiment_id, state, {'pg_backend_pid()' if is_postgresql else '0'}, sum(trials), sum(done), "
        f"sum(goal), sum(own), 1, min(first_started), max(last_ended) FROM ({' UNION ALL '.join(rows)}) counted "
        f"GROUP BY experiment_id, state ON CONFLICT (experiment_id, state, slot) DO UPDATE SET {sums}, {times}"
    )


def _linked(source: str, one: str, link: str, sign: int, condition: str = "1 = 1") -> str:
    """What links of trials add to their experiments' tallies: a FROM clause, and names in it of trial and link."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    path = (
        "(document #>> '{training,steps}')::bigint" if is_postgresql else "json_extract(document, '$.training.steps')"
    )
    state = f"CASE WHEN {link}.wanted THEN {one}.state ELSE 'cancelled' END"
    done = f"CASE WHEN {one}.state IN {_ENDED} THEN coalesce({one}.last_step, 0) ELSE 0 END"
    is_open = f"{link}.wanted AND {one}.state IN ('queued', 'running')"
    goal = (
        f"CASE WHEN {is_open} THEN coalesce((SELECT {path} FROM settings WHERE id = {one}.settings_id), 0) ELSE 0 END"
    )
    own = f"CASE WHEN {one}.started_at >= holder.created_at THEN {done} ELSE 0 END"
    times = [f"CASE WHEN {sign} > 0 AND {one}.state IN {_TRAINED} THEN {one}.{at} END" for at in _TIMES]
    return (
        f"SELECT {link}.experiment_id AS experiment_id, {state} AS state, {sign} AS trials, {sign} * ({done}) AS done, "
        f"{sign} * ({goal}) AS goal, {sign} * ({own}) AS own, {times[0]} AS first_started, {times[1]} AS last_ended "
        f"FROM {source} JOIN experiment holder ON holder.id = {link}.experiment_id WHERE {condition}"
    )


_TIMES = ("started_at", "ended_at")


def _all(source: str, one: str, sign: int) -> str:
    """What trials add to the tally of them all."""
    null = "CAST(NULL AS timestamptz)" if op.get_bind().dialect.name == "postgresql" else "NULL"
    return (
        f"SELECT 0 AS experiment_id, {one}.state AS state, {sign} AS trials, 0 AS done, 0 AS goal, 0 AS own, "
        f"{null} AS first_started, {null} AS last_ended FROM {source}"
    )
