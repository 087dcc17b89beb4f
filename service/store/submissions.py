"""Submits grids: an experiment, its settings, those of its trials that are new, and the links, or nothing of it."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection, and_, func, insert, literal, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from service.errors import Conflict, IdempotencyMismatch, StoreUnavailable
from service.grid.expansion import Expansion
from service.grid.points import Point
from service.states import ExperimentState, TrialState, experiment_state
from service.store.beginnings import beginnings_of, follow, forget, share_also, share_of
from service.store.bulk_writes import insert_columns
from service.store.copy_binary import BIGINT, BOOLEAN
from service.store.datasets import require_datasets
from service.store.experiments import count_states, is_unfinished, require
from service.store.ids import experiment_id
from service.store.keys import among_words
from service.store.models import experiment, experiment_trial, idempotency, settings, trial
from service.store.session import Store, utc_now
from service.store.wanting import AS_NEW, one_at_a_time, refuse_long_queue, settle

_CHUNK = 5_000
_MANY = 1_000
T = TypeVar("T")
Placed = tuple[int, Point, int, str]
"""Position, point, seed and fingerprint of a trial."""


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
    trials = list(expansion.trials())  # hashed before anybody has to wait
    with store.write() as connection:
        one_at_a_time(connection)
        if idempotency_key is not None:
            before = _replayed(connection, owner, idempotency_key, body_digest)
            if before is not None:
                return before
        number = insert_experiment(connection, expansion, owner, document)
        total, new = add_trials(connection, number, expansion.points, trials, expansion.grid.priority)
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
    tell_planner(store, new)
    return created


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
    trials = list(expansion.trials())
    with store.write() as connection:
        one_at_a_time(connection)
        number = require(connection, public_id)
        row = connection.execute(select(experiment).where(experiment.c.id == number)).mappings().one()
        if row["grid"] != before:
            raise Conflict("the experiment was extended by somebody else at the same moment: look, and try again")
        changed = {"grid": dict(document), "axes": list(expansion.axes), "searching": searches(document)}
        connection.execute(update(experiment).where(experiment.c.id == number).values(**changed))
        total, new = add_trials(connection, number, expansion.points, trials, expansion.grid.priority)
        refuse_long_queue(connection, row["owner"], max_queued)
        counts = count_states(connection, [number])[number]
        goes_on = is_unfinished(counts) or searches(document)
        state = experiment_state(counts, bool(row["paused"]) and goes_on, searching=searches(document))
    tell_planner(store, new)
    return Created(public_id, row["name"], state, total, new, total - new)


def add_trials(
    connection: Connection, number: int, points: Sequence[Point], trials: Sequence[Placed], priority: int
) -> tuple[int, int]:
    """Link those trials that an experiment has not; answers how many it has now, and how many are new or revived.

    Args:
        connection: a writing transaction in which nobody else changes who wants what.
        number: the experiment's key.
        points: whose trials they are.
        trials: in the order in which they are linked.
        priority: with which they wait.
    """
    require_datasets(connection, (point.settings for point in points))
    setting_ids = insert_settings(connection, points)
    keys = beginnings_of(connection, points)
    new = _insert_trials(connection, number, trials, priority, setting_ids, keys)
    _insert_links(connection, number, trials)
    own = experiment_trial.c.experiment_id == number
    total = int(connection.scalar(select(func.count()).select_from(experiment_trial).where(own)) or 0)
    connection.execute(update(experiment).where(experiment.c.id == number).values(trials=total))
    revived = _revive_cancelled(connection, number)
    if keys:
        follow(connection, number)
    settle(connection, number)
    return total, new + revived


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
        for chunk in _chunks(fingerprints):
            query = select(trial.c.fingerprint).where(
                among_words(connection, trial.c.fingerprint, chunk), trial.c.state != TrialState.CANCELLED
            )
            known.update(connection.scalars(query))
    return frozenset(known)


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of at most _CHUNK items."""
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


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


def insert_settings(connection: Connection, points: Iterable[Point]) -> dict[str, int]:
    """Keys of the points' settings by digest, those missing inserted."""
    found: dict[str, int] = {}
    for chunk in _chunks(points):
        rows = [
            {
                "digest": point.digest,
                "stack_key": point.stack_key,
                "document": point.settings,
                "layers": list(point.layers) or None,
            }
            for point in chunk
        ]
        connection.execute(_insert_missing(connection, settings, "digest"), rows)
        digests = [point.digest for point in chunk]
        for digest, key in connection.execute(
            select(settings.c.digest, settings.c.id).where(settings.c.digest.in_(digests))
        ):
            found[digest] = key
    return found


def _insert_trials(
    connection: Connection,
    number: int,
    trials: Sequence[Placed],
    priority: int,
    setting_ids: Mapping[str, int],
    beginnings: Mapping[str, str],
) -> int:
    """Insert those trials that the store has not, waiting for this experiment; answers how many.

    `beginnings` has the keys of points' beginnings by digest; none where no trial shares one.
    """
    now, new = utc_now(), 0
    for chunk in _chunks(trials):
        rows: list[dict[str, Any]] = [
            {
                "fingerprint": fingerprint,
                "settings_id": setting_ids[point.digest],
                "seed": seed,
                "stack_key": point.stack_key,
                "device": point.device,
                "state": TrialState.QUEUED,
                "queued_for": number,
                "priority": priority,
                "created_at": now,
                **share_of(point, seed, beginnings),
            }
            for _, point, seed, fingerprint in chunk
        ]
        before = _count_present(connection, [row["fingerprint"] for row in rows])
        connection.execute(_insert_missing(connection, trial, "fingerprint"), rows)
        new += len(rows) - before
        if before:
            share_also(connection, rows)
    return new


def _count_present(connection: Connection, fingerprints: Sequence[str]) -> int:
    query = select(func.count()).select_from(trial).where(trial.c.fingerprint.in_(fingerprints))
    return int(connection.scalar(query) or 0)


def _insert_links(connection: Connection, number: int, trials: Sequence[Placed]) -> None:
    """Link the grid's trials in its order; those that an extended experiment has already keep their places."""
    own = experiment_trial.c.experiment_id == number
    linked = frozenset(connection.scalars(select(experiment_trial.c.trial_id).where(own)))
    following = int(connection.scalar(select(func.coalesce(func.max(experiment_trial.c.position) + 1, 0)).where(own)))
    for chunk in _chunks(trials):
        prints = [fingerprint for *_, fingerprint in chunk]
        query = select(trial.c.fingerprint, trial.c.id).where(trial.c.fingerprint.in_(prints))
        keys = {row.fingerprint: row.id for row in connection.execute(query)}
        missing = [keys[fingerprint] for fingerprint in prints if keys[fingerprint] not in linked]
        columns = {
            "experiment_id": np.full(len(missing), number),
            "position": np.arange(following, following + len(missing)),
            "trial_id": np.array(missing, np.int64),
            "wanted": np.ones(len(missing), bool),
        }
        insert_columns(connection, experiment_trial, columns, [BIGINT, BIGINT, BIGINT, BOOLEAN])
        following += len(missing)


def _insert_missing(connection: Connection, table: Any, unique: str) -> Any:
    """INSERT that leaves rows with a known unique value alone."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing(index_elements=[unique])


def _revive_cancelled(connection: Connection, number: int) -> int:
    """Queue the experiment's cancelled trials again: somebody wants them now."""
    links = select(experiment_trial.c.trial_id).where(
        experiment_trial.c.experiment_id == number, experiment_trial.c.wanted == literal(True)
    )
    again = and_(trial.c.id.in_(links), trial.c.state == TrialState.CANCELLED)
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
