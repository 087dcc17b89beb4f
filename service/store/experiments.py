"""Experiments as they stand: one, or all of them by page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, Text, bindparam, cast, func, literal, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from service.errors import NotFound
from service.grid.sampling import grouping
from service.grid.value_order import ValueOrder
from service.states import ENDED, ExperimentState, TrialState, experiment_state
from service.store.column_types import Json
from service.store.ids import experiment_id, experiment_number, trial_number
from service.store.models import experiment, experiment_trial, is_there, tally, trial
from service.store.session import Store, utc_now
from service.store.step_counts import steps_of
from service.store.tallies import Tally, sums_by_state, tallies


@dataclass(frozen=True)
class Summary:
    """An experiment as it stands, without its grid and claims, which may be 4 MiB."""

    id: str
    name: str
    owner: str
    notes: str
    tags: list[str]
    priority: int
    starred: bool
    axes: list[str]
    created_at: datetime
    state: ExperimentState
    counts: dict[TrialState, int]
    progress: float
    """Share of its steps that are done; where trials have none to do, of its trials that have ended."""
    eta_seconds: float | None
    """From the rate of its own steps so far; null before the first is measured."""


@dataclass(frozen=True)
class Experiment(Summary):
    """All of an experiment."""

    grid: dict[str, Any]
    claims: list[dict[str, Any]]


_BEFORE_THE_END: Final = 0.99
_OF_SUMMARY: Final = [column for column in experiment.c if column.name not in ("grid", "claims", "deleted_at")]


def get_experiment(store: Store, public_id: str, *, with_grid: bool = True) -> Experiment:
    """One experiment; its grid, which may be large, is empty where nobody asks for it. Raises NotFound."""
    grid = experiment.c.grid if with_grid else literal({}, Json)
    with store.read() as connection:
        standing = _standing_of(connection, public_id)
        whole = select(grid.label("grid"), experiment.c.claims).where(experiment.c.id == experiment_number(public_id))
        row = connection.execute(whole).one()
    return Experiment(**standing, grid=row.grid, claims=row.claims)


def get_summary(store: Store, public_id: str) -> Summary:
    """Where one experiment stands, for whoever looks often. Raises NotFound."""
    with store.read() as connection:
        return Summary(**_standing_of(connection, public_id))


def grouping_axes(store: Store, public_id: str) -> list[str]:
    """The axes of one experiment that questions group by where nobody says so. Raises NotFound."""
    with store.read() as connection:
        number = require(connection, public_id)
        row = connection.execute(select(experiment.c.axes, experiment.c.grid).where(experiment.c.id == number)).one()
    return grouping(row.axes, row.grid)


def owner_of(store: Store, public_id: str) -> str:
    """Whose an experiment is, without counting its trials. Raises NotFound."""
    with store.read() as connection:
        number = require(connection, public_id)
        return connection.execute(select(experiment.c.owner).where(experiment.c.id == number)).scalar_one()


def value_order(connection: Connection, numbers: Sequence[int]) -> ValueOrder:
    """The order of values on the axes of experiments; their grids are read when a word is first ranked."""

    def read() -> list[dict[str, Any]]:
        query = select(experiment.c.id, experiment.c.grid).where(experiment.c.id.in_(numbers))
        grids = {row.id: row.grid for row in connection.execute(query)}
        return [grids[number] for number in numbers]

    return ValueOrder(read)


def _standing_of(connection: Connection, public_id: str) -> dict[str, Any]:
    """Fields of a summary. Raises NotFound."""
    number = experiment_number(public_id)
    # one statement for both: many look, and often; not for what may be large, since there is a row for each state
    query = (
        select(*_OF_SUMMARY, *sums_by_state())
        .outerjoin_from(experiment, tally, tally.c.experiment_id == experiment.c.id)
        .where(experiment.c.id == number, is_there)
        .group_by(experiment.c.id, tally.c.state)
    )
    rows = connection.execute(query).all()
    if not rows:
        raise NotFound(f"no experiment {public_id}: GET /experiments lists them")
    own = Tally()
    for *_, state, trials, done, goal, steps, changes, first, last in rows:
        if state is not None:
            own.add(state, trials, done, goal, steps, changes, first, last)
    row: Any = rows[0]._mapping
    if row["stopping"] and row["unsettled_from"] is not None:
        own.stop()
    return _standing(connection, row, own)


def list_experiments(
    store: Store,
    *,
    state: str | None = None,
    tag: str | None = None,
    q: str | None = None,
    starred: bool | None = None,
    limit: int,
    before: int | None,
) -> tuple[list[Summary], int | None]:
    """Experiments, newest first, and the key to go on from (null at the end).

    Args:
        store: where they are.
        state: only those in this state.
        tag: only those with this tag.
        q: only those whose name, notes or tags contain this, in any case.
        starred: only those with a star, or without.
        limit: at most so many.
        before: only those older than this key.
    """
    found: list[Summary] = []
    with store.read() as connection:
        while True:
            query = select(*_OF_SUMMARY).where(is_there).order_by(experiment.c.id.desc()).limit(limit + 1)
            if before is not None:
                query = query.where(experiment.c.id < before)
            if starred is not None:
                query = query.where(experiment.c.starred == literal(starred))
            rows = connection.execute(_filtered(query, connection, tag, q)).mappings().all()
            kept = tallies(connection, [row["id"] for row in rows])
            for row in rows:
                one = Summary(**_standing(connection, row, kept[row["id"]]))
                if state is None or one.state == state:
                    if len(found) == limit:
                        return found, experiment_number(found[-1].id)
                    found.append(one)
            if len(rows) <= limit:
                return found, None
            before = rows[-1]["id"]


def experiments_of_trial(store: Store, trial_id: str) -> list[Summary]:
    """The experiments that hold a trial, the oldest first. Raises NotFound."""
    key = trial_number(trial_id)
    with store.read() as connection:
        holders = select(experiment_trial.c.experiment_id).where(experiment_trial.c.trial_id == key)
        query = select(*_OF_SUMMARY).where(experiment.c.id.in_(holders), is_there).order_by(experiment.c.id)
        rows = connection.execute(query).mappings().all()
        # one that only deleted experiments hold goes with them
        orphan = select(trial.c.id).where(trial.c.id == key, ~holders.exists())
        if not rows and connection.scalar(orphan) is None:
            raise NotFound(f"no trial {trial_id}: GET /experiments/ID/trials lists an experiment's")
        kept = tallies(connection, [row["id"] for row in rows])
        return [Summary(**_standing(connection, row, kept[row["id"]])) for row in rows]


_THERE: Final = select(experiment.c.id).where(experiment.c.id == bindparam("number"), is_there)


def require(connection: Connection, public_id: str) -> int:
    """The key of an experiment that exists. Raises NotFound."""
    number = experiment_number(public_id)
    if connection.scalar(_THERE, {"number": number}) is None:
        raise NotFound(f"no experiment {public_id}: GET /experiments lists them")
    return number


def _filtered(
    query: Select[*tuple[Any, ...]], connection: Connection, tag: str | None, q: str | None
) -> Select[*tuple[Any, ...]]:
    if q:
        written = (experiment.c.name.icontains(q, autoescape=True), experiment.c.notes.icontains(q, autoescape=True))
        tags, one = _each_tag(connection)
        has_tag = select(literal(1)).select_from(tags).where(one.icontains(q, autoescape=True)).exists()
        query = query.where(or_(*written, has_tag))
    if tag is None:
        return query
    if connection.dialect.name == "postgresql":
        return query.where(experiment.c.tags.op("@>")(literal([tag], JSONB)))
    tags, one = _each_tag(connection)
    return query.where(select(literal(1)).select_from(tags).where(one == tag).exists())


def _each_tag(connection: Connection) -> tuple[Any, Any]:
    """The tags of an experiment as rows, and their column."""
    each = func.jsonb_array_elements_text if connection.dialect.name == "postgresql" else func.json_each
    tags = each(experiment.c.tags).table_valued("value")
    return tags, cast(tags.c.value, Text)


def count_states(connection: Connection, numbers: Sequence[int]) -> dict[int, dict[TrialState, int]]:
    """Trials of each experiment by state; what it stopped wanting counts as cancelled for it."""
    return {number: one.counts for number, one in tallies(connection, numbers).items()}


def is_unfinished(counts: Mapping[TrialState, int]) -> bool:
    """Whether trials wait or run: what has ended is not paused, though it was before its trials ended for others."""
    return any(count for state, count in counts.items() if state not in ENDED)


def _standing(connection: Connection, row: Any, tally: Tally) -> dict[str, Any]:
    """Fields of a summary."""
    counts, searching = tally.counts, bool(row["searching"])
    progress, eta = _advance(connection, row, tally)
    if searching:
        # a further round may come
        progress, eta = min(progress, _BEFORE_THE_END), None
    return {
        "id": experiment_id(row["id"]),
        "name": row["name"],
        "owner": row["owner"],
        "notes": row["notes"],
        "tags": row["tags"],
        "priority": row["priority"],
        "starred": bool(row["starred"]),
        "axes": row["axes"],
        "created_at": row["created_at"],
        "state": experiment_state(
            counts, bool(row["paused"]) and (is_unfinished(counts) or searching), searching=searching
        ),
        "counts": counts,
        "progress": progress,
        "eta_seconds": eta,
    }


def _advance(connection: Connection, row: Any, tally: Tally) -> tuple[float, float | None]:
    """The share that is done, 1 only where everything has ended, and the seconds left."""
    total, ended = sum(tally.counts.values()), sum(tally.counts[state] for state in ENDED)
    if ended == total:
        return 1.0, 0.0
    if not ended and not tally.counts[TrialState.RUNNING]:
        return 0.0, None
    # other experiments may have trained some of its trials long ago: they count as done, not for its speed
    steps, own = steps_of(connection, row["id"], tally, row["created_at"])
    if not steps.left:
        return ended / total, _eta(tally, total - ended)
    left = _eta(tally, total - ended)
    if own and tally.counts[TrialState.RUNNING]:
        began = max(row["created_at"], tally.first_started or row["created_at"])
        left = round((utc_now() - began).total_seconds() / own * steps.left, 1)
    return steps.done / (steps.done + steps.left), left


def _eta(tally: Tally, left: int) -> float | None:
    """Seconds until the experiment ends, from the rate at which its trials have ended since the first one started."""
    if not tally.trained or tally.first_started is None or tally.last_ended is None:
        return None
    return round((tally.last_ended - tally.first_started).total_seconds() / tally.trained * left, 1)
