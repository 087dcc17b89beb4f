"""Submits grids: an experiment, its settings, those of its trials that are new, and the links, or nothing of it."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, and_, bindparam, func, insert, literal, select, text, update

from service.errors import Conflict, IdempotencyMismatch, StoreUnavailable
from service.grid.expansion import Expansion
from service.grid.points import Point
from service.states import ExperimentState, TrialState, experiment_state
from service.store.beginnings import beginnings_of, follow, forget
from service.store.contention import was_a_circle
from service.store.datasets import refuse_missing
from service.store.experiments import count_states, is_unfinished, require
from service.store.held_back import is_cancelled, let_go, stopping
from service.store.ids import experiment_id, experiment_number
from service.store.insertions import Adding, Placed, chunks, insert_all
from service.store.keys import among, among_words
from service.store.leaving import give_back
from service.store.models import experiment, experiment_trial, idempotency, settings, trial
from service.store.own_keys import own_keys
from service.store.session import Store, utc_now
from service.store.settling import finish, finish_now
from service.store.subscriptions import rearm, subscribe
from service.store.wanting import (
    AS_NEW,
    add_alone,
    lock_trials,
    one_at_a_time,
    one_key_at_a_time,
    refuse_long_queue,
    settle,
    settle_trials,
)

_MANY: Final = 1_000
_TRIES: Final = 3
T = TypeVar("T")
_OWN: Final = experiment_trial.c.experiment_id == bindparam("number")
_OTHER: Final = experiment_trial.alias()
# made once: a round of a search asks them all
_STANDING: Final = select(experiment.c.paused, experiment.c.priority).where(experiment.c.id == bindparam("number"))
_LAST: Final = select(func.max(experiment_trial.c.position)).where(_OWN)
_LINKS: Final = select(func.count()).select_from(experiment_trial).where(_OWN)
_SHARED: Final = select(experiment_trial.c.trial_id).where(
    _OWN,
    select(1)
    .where(_OTHER.c.trial_id == experiment_trial.c.trial_id)
    .where(_OTHER.c.experiment_id != experiment_trial.c.experiment_id)
    .exists(),
)


@dataclass(frozen=True)
class Created:
    """What a submission made: the experiment, and how many of its trials are new to the store."""

    id: str
    name: str
    state: ExperimentState
    total: int
    new: int
    reused: int
    is_replay: bool = False
    """The same Idempotency-Key and body had made it before."""


def create_experiment(
    store: Store,
    expansion: Expansion,
    *,
    owner: str = "local",
    max_queued: int | None = None,
    document: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    body_digest: str = "",
) -> Created:
    """Store an experiment and queue those of its trials that nobody has run; all of it or nothing.

    Raises:
        IdempotencyMismatch: the key was used with another body.
        TooMany: the owner would have more than `max_queued` unfinished trials.
    """
    trials = _trials_of(store, expansion)

    def submit() -> Created:
        with store.write() as connection:
            if idempotency_key is not None:
                one_key_at_a_time(connection, owner, idempotency_key)
                before = _replayed(connection, owner, idempotency_key, body_digest)
                if before is not None:
                    return before
            number = insert_experiment(connection, expansion, owner, document)
            subscribe(connection, number, expansion.grid.notify)
            points, priority = expansion.points, expansion.grid.priority
            total, new = add_trials(connection, number, points, trials(), priority, own and own.first)
            refuse_long_queue(connection, owner, max_queued)
            created = Created(
                experiment_id(number),
                expansion.grid.name,
                experiment_state(
                    count_states(connection, [number]).get(number, {}),
                    paused=False,
                    searching=searches(grid_of(expansion, document)),
                ),
                total,
                new,
                total - new,
            )
            if idempotency_key is not None:
                _remember(connection, owner, idempotency_key, body_digest, number, created)
        return created

    with own_keys(store, expansion) as own:
        created = _out_of_circles(submit)
    if created.is_replay or not created.new:
        give_back(store, own)
    if not created.is_replay:
        tell_planner(store, created.new)
    return created


def _trials_of(store: Store, expansion: Expansion) -> Callable[[], Iterable[Placed]]:
    """What answers a grid's trials. SQLite has one writer, who is not kept waiting for hashes; for PostgreSQL they
    are made while they are sent, so that a million take no memory."""
    if store.dialect == "postgresql":
        return expansion.trials
    hashed = list(expansion.trials())
    return lambda: hashed


def _out_of_circles(change: Callable[[], T]) -> T:
    """Make a change again that was given up so that another one, which waited for it as it did for that, could go on.

    Raises:
        StoreUnavailable: it was given up thrice.
    """
    for _ in range(_TRIES - 1):
        try:
            return change()
        except StoreUnavailable as error:
            if not was_a_circle(error):
                raise
    return change()


def extend_experiment(
    store: Store,
    public_id: str,
    expansion: Expansion,
    before: Mapping[str, Any],
    document: Mapping[str, Any],
    max_queued: int | None = None,
) -> Created:
    """Add those trials of a wider grid that the experiment has not; all of it or nothing.

    Args:
        store: where it is.
        public_id: the experiment.
        expansion: of the wider grid.
        before: the grid that was widened.
        document: the wider grid.
        max_queued: unfinished trials that its owner may have.
    Raises:
        NotFound: there is no such experiment.
        TooMany: its owner would have more unfinished trials.
        Conflict: somebody else has changed its grid since it was read.
    """
    trials = _trials_of(store, expansion)
    finish(store, experiment_number(public_id))

    def extend() -> Created:
        with store.write() as connection:
            number = require(connection, public_id)
            add_alone(connection, number)
            _require_grid(connection, number, before)
            points, priority = expansion.points, expansion.grid.priority
            total, new = add_trials(connection, number, points, trials(), priority, own and own.first)
            row = _require_grid(connection, require(connection, public_id), before)
            changed = {"grid": dict(document), "axes": list(expansion.axes), "searching": searches(document)}
            connection.execute(update(experiment).where(experiment.c.id == number).values(**changed))
            if new:
                rearm(connection, number)
            refuse_long_queue(connection, row["owner"], max_queued)
            counts = count_states(connection, [number])[number]
            goes_on = is_unfinished(counts) or searches(document)
            state = experiment_state(counts, bool(row["paused"]) and goes_on, searching=searches(document))
            return Created(public_id, row["name"], state, total, new, total - new)

    with store.read() as connection:
        there = _count_links(connection, require(connection, public_id))
    with own_keys(store, expansion, there) as own:
        created = _out_of_circles(extend)
    if not created.new:
        give_back(store, own)
    tell_planner(store, created.new)
    return created


def _require_grid(connection: Connection, number: int, before: Mapping[str, Any]) -> Any:
    """The row of an experiment whose grid is still this one. Raises Conflict."""
    row = connection.execute(select(experiment).where(experiment.c.id == number)).mappings().one()
    if row["grid"] != before:
        raise Conflict("the experiment was extended by somebody else at the same moment: look, and try again")
    return row


def add_trials(
    connection: Connection,
    number: int,
    points: Sequence[Point],
    trials: Iterable[Placed],
    priority: int,
    first: int | None = None,
) -> tuple[int, int]:
    """Link those trials that an experiment has not; answers how many it has now, and how many are new or revived.

    All that is long comes before anybody has to wait: what is inserted is nobody else's yet. Then, with nobody else
    changing who wants what, come the trials that were there before.

    Args:
        connection: a writing transaction in which nobody else adds to the experiment.
        number: the experiment's key.
        points: whose trials they are.
        trials: in the order of the points, in which they are linked.
        priority: with which they wait.
        first: the first of the keys that were set aside for all of them; None: new ones have the following keys.
    Raises:
        Conflict: a dataset that they name was deleted since they were checked.
        StoreUnavailable: a trial that was there before was deleted at the same moment.
    """
    keys = beginnings_of(connection, points)
    paused, _ = _standing(connection, number)
    following = _following(connection, number)
    adding = Adding(number, following, points, trials, priority, keys, waiting=not paused, first=first)
    inserted = insert_all(connection, adding)
    one_at_a_time(connection)
    if following:
        finish_now(connection, number, below=following)
    refuse_missing(connection, inserted.datasets)
    inserted.link_rest()
    before = inserted.open_before()
    total = _count_links(connection, number)
    if not following and total != inserted.asked:
        raise StoreUnavailable("trials of this grid were deleted at the same moment; try again")
    connection.execute(update(experiment).where(experiment.c.id == number).values(trials=total))
    revived = _revive_cancelled(connection, number, before)
    if keys:
        inserted.share()
        follow(connection, number)
    if keys or _standing(connection, number) != (paused, priority):
        settle(connection, number)
    else:
        settle_trials(connection, before + (_shared(connection, number) if following else []))
    inserted.end()
    return total, inserted.new + revived


def _standing(connection: Connection, number: int) -> tuple[bool, int]:
    """Whether an experiment is paused, and its priority."""
    row = connection.execute(_STANDING, {"number": number}).one_or_none()
    return (False, 0) if row is None else (bool(row.paused), int(row.priority))


def _following(connection: Connection, number: int) -> int:
    """The position after an experiment's last one."""
    last = connection.scalar(_LAST, {"number": number})
    return 0 if last is None else int(last) + 1


def _count_links(connection: Connection, number: int) -> int:
    return int(connection.scalar(_LINKS, {"number": number}) or 0)


def _shared(connection: Connection, number: int) -> list[int]:
    """Trials of an experiment that others hold too: a smaller experiment goes before a larger one."""
    return sorted(connection.scalars(_SHARED, {"number": number}))


def searches(document: Mapping[str, Any]) -> bool:
    """Whether a grid asks for something to be found, so that dispatchers add to it."""
    return bool(document.get("refine")) or isinstance(document.get("seeds"), Mapping)


def tell_planner(store: Store, new: int) -> None:
    """Let PostgreSQL count many new rows now: until it does by itself, a minute later, questions take thrice as long.

    No submission waits for it or fails with it.
    """
    if store.dialect == "postgresql" and new >= _MANY:
        with contextlib.suppress(StoreUnavailable):
            for table in (trial, experiment_trial, settings):
                with store.write() as connection:
                    connection.execute(text("SET LOCAL lock_timeout = '200ms'"))
                    connection.execute(text(f"ANALYZE {table.name}"))


def known_fingerprints(store: Store, fingerprints: Iterable[str]) -> frozenset[str]:
    """Those of these fingerprints whose trials the store has already, cancelled ones left out."""
    known: set[str] = set()
    with store.read() as connection:
        for chunk in chunks(fingerprints):
            query = select(trial.c.fingerprint).where(
                among_words(connection, trial.c.fingerprint, chunk), trial.c.state != TrialState.CANCELLED
            )
            known.update(connection.scalars(query))
    return frozenset(known)


def insert_experiment(
    connection: Connection,
    expansion: Expansion,
    owner: str,
    document: Mapping[str, Any] | None,
) -> int:
    """Insert an experiment without trials; answers its key."""
    grid, written = expansion.grid, grid_of(expansion, document)
    result = connection.execute(
        insert(experiment).values(
            name=grid.name,
            owner=owner,
            notes=grid.notes,
            tags=list(grid.tags),
            priority=grid.priority,
            paused=False,
            grid=written,
            searching=searches(written),
            axes=list(expansion.axes),
            claims=list(grid.claims),
            trials=len(expansion),
            created_at=utc_now(),
        )
    )
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def grid_of(expansion: Expansion, document: Mapping[str, Any] | None) -> dict[str, Any]:
    """The grid as it is kept: as it was submitted."""
    return dict(document) if document is not None else expansion.grid.model_dump(mode="json")


def _revive_cancelled(connection: Connection, number: int, keys: Sequence[int]) -> int:
    """Queue those of these trials that are cancelled again: an experiment wants them now."""
    if not keys:
        return 0
    link = experiment_trial.c
    # an experiment that is extended does not want again what it had cancelled
    wanted = select(link.trial_id).where(link.experiment_id == number, link.wanted == literal(True))
    mine = and_(among(connection, trial.c.id, keys), trial.c.id.in_(wanted))
    again = and_(mine, trial.c.state == TrialState.CANCELLED)
    if stopped := stopping(connection):
        # what is being cancelled wants them no more, before they are as new
        left = lock_trials(connection, and_(mine, is_cancelled(besides=number)))
        again = among(connection, trial.c.id, left)
        let_go(connection, stopped, again)
    forget(connection, again)
    return connection.execute(update(trial).where(again).values(**AS_NEW)).rowcount


def _replayed(connection: Connection, owner: str, key: str, body_digest: str) -> Created | None:
    row = (
        connection.execute(select(idempotency).where(idempotency.c.owner == owner, idempotency.c.key == key))
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    if row["body_digest"] != body_digest:
        raise IdempotencyMismatch(
            "this Idempotency-Key came before with another body: use a fresh key for a new request"
        )
    answer: dict[str, Any] = row["answer"] | {"state": ExperimentState(row["answer"]["state"])}
    return Created(**answer, is_replay=True)


def _remember(connection: Connection, owner: str, key: str, body_digest: str, number: int, created: Created) -> None:
    answer = {name: getattr(created, name) for name in ("id", "name", "state", "total", "new", "reused")}
    connection.execute(
        insert(idempotency).values(
            owner=owner,
            key=key,
            body_digest=body_digest,
            experiment_id=number,
            answer=answer,
            created_at=utc_now(),
        )
    )
