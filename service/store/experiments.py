"""Experiments: submit a grid, look at one or all, cancel."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, case, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import Select

from service.errors import IdempotencyMismatch, NotFound
from service.grids import Expansion
from service.states import ENDED, ExperimentState, TrialState, experiment_state
from service.store.ids import experiment_id, experiment_number
from service.store.models import experiment, experiment_trial, idempotency, settings, trial
from service.store.session import Store, utc_now

_CHUNK = 5_000
T = TypeVar("T")


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


@dataclass(frozen=True)
class Experiment:
    """An experiment as it stands."""

    id: str
    name: str
    owner: str
    notes: str
    tags: list[str]
    priority: int
    grid: dict[str, Any]
    axes: list[str]
    claims: list[dict[str, Any]]
    created_at: datetime
    state: ExperimentState
    counts: dict[TrialState, int]
    progress: float
    """Share of its trials that have ended."""
    eta_seconds: float | None
    """From the rate at which trials ended in this experiment so far; null before the first."""


def create_experiment(
    store: Store,
    expansion: Expansion,
    *,
    owner: str = "local",
    claims: Sequence[Mapping[str, Any]] = (),
    document: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    body_digest: str = "",
) -> Created:
    """Store an experiment and queue those of its trials that nobody has run; all of it or nothing.

    Raises:
        IdempotencyMismatch: the key was used with another body.
    """
    with store.write() as connection:
        if idempotency_key is not None:
            _lock_key(connection, owner, idempotency_key)
            before = _replayed(connection, owner, idempotency_key, body_digest)
            if before is not None:
                return before
        number = _insert_experiment(connection, expansion, owner, claims, document)
        setting_ids = _insert_settings(connection, expansion)
        new = _insert_trials(connection, expansion, setting_ids)
        _insert_links(connection, number, expansion)
        revived = _revive_cancelled(connection, number)
        assign_queue(connection, number)
        total = len(expansion)
        created = Created(
            experiment_id(number),
            expansion.grid.name,
            experiment_state(_counts(connection, [number]).get(number, {}), paused=False),
            total,
            new + revived,
            total - new - revived,
        )
        if idempotency_key is not None:
            _remember(connection, owner, idempotency_key, body_digest, number, created)
    return created


def count_reused(store: Store, expansion: Expansion) -> int:
    """How many of the grid's trials the store has already, cancelled ones not counted."""
    reused = 0
    with store.read() as connection:
        for chunk in _chunks((fingerprint for *_, fingerprint in expansion.trials())):
            reused += (
                connection.scalar(
                    select(func.count())
                    .select_from(trial)
                    .where(trial.c.fingerprint.in_(chunk), trial.c.state != TrialState.CANCELLED)
                )
                or 0
            )
    return reused


def get_experiment(store: Store, public_id: str) -> Experiment:
    """One experiment. Raises NotFound."""
    number = experiment_number(public_id)
    with store.read() as connection:
        row = connection.execute(select(experiment).where(experiment.c.id == number)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"no experiment {public_id}: GET /experiments lists them")
        return _experiment(connection, row, _counts(connection, [number]))


def list_experiments(
    store: Store,
    *,
    state: str | None = None,
    tag: str | None = None,
    q: str | None = None,
    limit: int,
    before: int | None,
) -> tuple[list[Experiment], int | None]:
    """Experiments, newest first, and the key to go on from (null at the end).

    Args:
        store: where they are.
        state: only those in this state.
        tag: only those with this tag.
        q: only those whose name contains this, in any case.
        limit: at most so many.
        before: only those older than this key.
    """
    found: list[Experiment] = []
    with store.read() as connection:
        while True:
            query = select(experiment).order_by(experiment.c.id.desc()).limit(limit + 1)
            if before is not None:
                query = query.where(experiment.c.id < before)
            rows = connection.execute(_filtered(query, connection, tag, q)).mappings().all()
            counts = _counts(connection, [row["id"] for row in rows])
            for row in rows:
                one = _experiment(connection, row, counts)
                if state is None or one.state == state:
                    if len(found) == limit:
                        return found, experiment_number(found[-1].id)
                    found.append(one)
            if len(rows) <= limit:
                return found, None
            before = rows[-1]["id"]


def cancel_experiment(store: Store, public_id: str) -> Experiment:
    """Stop wanting every unfinished trial; those that nobody else wants are cancelled, running ones within 2 s."""
    number = experiment_number(public_id)
    with store.write() as connection:
        _require(connection, number, public_id)
        unfinished = select(trial.c.id).where(trial.c.state.in_([TrialState.QUEUED, TrialState.RUNNING]))
        connection.execute(
            update(experiment_trial)
            .where(experiment_trial.c.experiment_id == number, experiment_trial.c.trial_id.in_(unfinished))
            .values(wanted=False)
        )
        links = select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id == number)
        other = experiment_trial.alias()
        wanted = (
            select(other.c.trial_id).where(other.c.trial_id == trial.c.id, other.c.wanted == literal(True)).exists()
        )
        connection.execute(
            update(trial)
            .where(trial.c.id.in_(links), trial.c.state.in_([TrialState.QUEUED, TrialState.RUNNING]), ~wanted)
            .values(
                state=TrialState.CANCELLED,
                ended_at=utc_now(),
                owner=None,
                lease_until=None,
                queued_for=None,
            )
        )
        assign_queue(connection, number)
    return get_experiment(store, public_id)


def assign_queue(connection: Connection, number: int) -> None:
    """Note on every queued trial of an experiment on whose behalf it waits, and at which priority.

    That is the unpaused experiment of highest priority, then lowest id, that wants it. With this on the trial itself,
    leasing reads an index instead of sorting the queue.
    """
    link, holder = experiment_trial.alias(), experiment.alias()

    def best(column: Any) -> Any:
        return (
            select(column)
            .select_from(link.join(holder, holder.c.id == link.c.experiment_id))
            .where(link.c.trial_id == trial.c.id, link.c.wanted == literal(True), holder.c.paused == literal(False))
            .order_by(holder.c.priority.desc(), holder.c.id)
            .limit(1)
            .scalar_subquery()
        )

    links = select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id == number)
    connection.execute(
        update(trial)
        .where(trial.c.id.in_(links), trial.c.state == TrialState.QUEUED)
        .values(queued_for=best(holder.c.id), priority=func.coalesce(best(holder.c.priority), 0))
    )


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of at most _CHUNK items."""
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


# -- submitting -----------------------------------------------------------------------------------------------------


def _insert_experiment(
    connection: Connection,
    expansion: Expansion,
    owner: str,
    claims: Sequence[Mapping[str, Any]],
    document: Mapping[str, Any] | None,
) -> int:
    grid = expansion.grid
    result = connection.execute(
        insert(experiment).values(
            name=grid.name,
            owner=owner,
            notes=grid.notes,
            tags=list(grid.tags),
            priority=grid.priority,
            paused=False,
            grid=dict(document) if document is not None else grid.model_dump(mode="json"),
            axes=list(expansion.axes),
            claims=[dict(claim) for claim in claims],
            trials=len(expansion),
            created_at=utc_now(),
        )
    )
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def _insert_settings(connection: Connection, expansion: Expansion) -> dict[str, int]:
    """Keys of the grid's settings by digest, those missing inserted."""
    found: dict[str, int] = {}
    for chunk in _chunks(sorted(expansion.points, key=lambda point: point.digest)):
        rows = [{"digest": point.digest, "stack_key": point.stack_key, "document": point.settings} for point in chunk]
        connection.execute(_insert_missing(connection, settings, "digest"), rows)
        digests = [point.digest for point in chunk]
        for digest, key in connection.execute(
            select(settings.c.digest, settings.c.id).where(settings.c.digest.in_(digests))
        ):
            found[digest] = key
    return found


def _insert_trials(connection: Connection, expansion: Expansion, setting_ids: Mapping[str, int]) -> int:
    """Insert those trials that the store has not; answers how many. Others submitting the same wait and find them."""
    now, new = utc_now(), 0
    for chunk in _chunks(expansion.trials()):
        # sorted, so that two overlapping submissions cannot wait for each other in a circle
        rows: list[dict[str, Any]] = [
            {
                "fingerprint": fingerprint,
                "settings_id": setting_ids[point.digest],
                "seed": seed,
                "stack_key": point.stack_key,
                "state": TrialState.QUEUED,
                "created_at": now,
            }
            for _, point, seed, fingerprint in sorted(chunk, key=lambda entry: entry[3])
        ]
        before = _count_present(connection, [row["fingerprint"] for row in rows])
        connection.execute(_insert_missing(connection, trial, "fingerprint"), rows)
        new += len(rows) - before
    return new


def _count_present(connection: Connection, fingerprints: Sequence[str]) -> int:
    query = select(func.count()).select_from(trial).where(trial.c.fingerprint.in_(fingerprints))
    return int(connection.scalar(query) or 0)


def _insert_links(connection: Connection, number: int, expansion: Expansion) -> None:
    for chunk in _chunks(expansion.trials()):
        prints = [fingerprint for *_, fingerprint in chunk]
        query = select(trial.c.fingerprint, trial.c.id).where(trial.c.fingerprint.in_(prints))
        keys = dict(connection.execute(query).tuples().all())
        connection.execute(
            insert(experiment_trial),
            [
                {"experiment_id": number, "position": position, "trial_id": keys[fingerprint], "wanted": True}
                for position, _, _, fingerprint in chunk
            ],
        )


def _insert_missing(connection: Connection, table: Any, unique: str) -> Any:
    """INSERT that leaves rows with a known unique value alone."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing(index_elements=[unique])


def _revive_cancelled(connection: Connection, number: int) -> int:
    """Queue the experiment's cancelled trials again: somebody wants them now."""
    links = select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id == number)
    result = connection.execute(
        update(trial)
        .where(trial.c.id.in_(links), trial.c.state == TrialState.CANCELLED)
        .values(state=TrialState.QUEUED, ended_at=None, error=None, not_before=0.0)
    )
    return result.rowcount


def _lock_key(connection: Connection, owner: str, key: str) -> None:
    """Make repeats of one key wait for each other; SQLite's writers do so anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{owner}/{key}", 0))))


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


# -- looking --------------------------------------------------------------------------------------------------------


def require(connection: Connection, public_id: str) -> int:
    """The key of an experiment that exists. Raises NotFound."""
    number = experiment_number(public_id)
    _require(connection, number, public_id)
    return number


def _require(connection: Connection, number: int, public_id: str) -> None:
    if connection.scalar(select(experiment.c.id).where(experiment.c.id == number)) is None:
        raise NotFound(f"no experiment {public_id}: GET /experiments lists them")


def _filtered(query: Select[Any], connection: Connection, tag: str | None, q: str | None) -> Select[Any]:
    if q:
        query = query.where(experiment.c.name.icontains(q, autoescape=True))
    if tag is None:
        return query
    if connection.dialect.name == "postgresql":
        return query.where(experiment.c.tags.op("@>")(literal([tag], JSONB)))
    each = func.json_each(experiment.c.tags).table_valued("value")
    return query.where(select(literal(1)).select_from(each).where(each.c.value == tag).exists())


def _counts(connection: Connection, numbers: Sequence[int]) -> dict[int, dict[TrialState, int]]:
    """Trials of each experiment by state; what it stopped wanting counts as cancelled for it."""
    state = case((experiment_trial.c.wanted == literal(False), TrialState.CANCELLED), else_=trial.c.state).label("s")
    rows = connection.execute(
        select(experiment_trial.c.experiment_id, state, func.count())
        .select_from(experiment_trial.join(trial, trial.c.id == experiment_trial.c.trial_id))
        .where(experiment_trial.c.experiment_id.in_(numbers))
        .group_by(experiment_trial.c.experiment_id, state)
    )
    found: dict[int, dict[TrialState, int]] = {number: dict.fromkeys(TrialState, 0) for number in numbers}
    for number, name, count in rows:
        found[number][TrialState(name)] += count
    return found


def _experiment(connection: Connection, row: Any, all_counts: Mapping[int, dict[TrialState, int]]) -> Experiment:
    counts = all_counts[row["id"]]
    total, ended = sum(counts.values()), sum(counts[state] for state in ENDED)
    return Experiment(
        id=experiment_id(row["id"]),
        name=row["name"],
        owner=row["owner"],
        notes=row["notes"],
        tags=row["tags"],
        priority=row["priority"],
        grid=row["grid"],
        axes=row["axes"],
        claims=row["claims"],
        created_at=row["created_at"],
        state=experiment_state(counts, bool(row["paused"])),
        counts=counts,
        progress=ended / total if total else 1.0,
        eta_seconds=_eta(connection, row["id"], total - ended),
    )


def _eta(connection: Connection, number: int, left: int) -> float | None:
    """Seconds until the experiment ends, from the rate at which its trials have ended since the first one started."""
    if left == 0:
        return 0.0
    query = (
        select(func.min(trial.c.started_at), func.max(trial.c.ended_at), func.count(trial.c.ended_at))
        .select_from(experiment_trial.join(trial, trial.c.id == experiment_trial.c.trial_id))
        .where(
            experiment_trial.c.experiment_id == number, trial.c.state.in_([TrialState.COMPLETED, TrialState.DIVERGED])
        )
    )
    first, last, ended = connection.execute(query).one()
    if not ended or first is None or last is None:
        return None
    return round((last - first).total_seconds() / ended * left, 1)
