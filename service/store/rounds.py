"""The rounds of experiments that search: what is known, and the points that the next round adds, exactly once.

Any dispatcher may notice that an experiment's trials have ended. What to add is worked out from one moment of the
store without any lock, and added in one transaction that first looks whether that moment still holds.
"""

import contextlib
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, insert, literal, select, update

from service.errors import InvalidGrid, NotFound, TooMany
from service.grid.expansion import expand
from service.grid.fitting import Limits
from service.grid.outline import dataset_ids
from service.grid.points import Point
from service.grid.problems import Problems
from service.planning.plan import Plan
from service.planning.planner import Addition, Past, Round, next_round, round_grids
from service.planning.reading import read_plan
from service.questions.claimed_grids import read_claimed
from service.questions.judging import Row
from service.store.datasets import dataset_shapes
from service.store.experiments import get_experiment, require
from service.store.ids import experiment_id
from service.store.insertions import Placed
from service.store.models import experiment, experiment_trial, is_there, search_round, trial
from service.store.search_rows import Known, search_rows
from service.store.session import Store, utc_now
from service.store.submissions import add_trials, tell_planner
from service.store.tallies import tallies
from service.store.wanting import adds_alone, one_at_a_time, refuse_long_queue

_UNFINISHED = ("queued", "running")


@dataclass(frozen=True, slots=True)
class KeptRound:
    """A round that was added."""

    number: int
    created_at: datetime
    additions: list[dict[str, Any]]
    added: dict[str, int]


@dataclass(frozen=True, slots=True)
class RoundsMade:
    """How far an experiment's searches went."""

    rounds: Sequence[KeptRound] = ()
    is_open: bool = False
    """A further round may come."""
    stopped: Mapping[str, str] = field(default_factory=dict)
    """Place of a search -> why it ended before it was done."""


@dataclass(frozen=True, slots=True)
class Searched:
    """What an experiment asks to be found, and what is known about it."""

    plan: Plan | None
    rows: Mapping[str, Sequence[Row]]
    rounds: Sequence[KeptRound]
    is_open: bool
    """A further round may come."""
    stopped: Mapping[str, str]
    """Place of a search -> why it ended before it was done."""


def searched(store: Store, public_id: str) -> Searched:
    """How far the searches of an experiment have come. Raises NotFound."""
    one, made = get_experiment(store, public_id), rounds_made(store, public_id)
    plan = plan_of(store, one.grid)
    rows = search_rows(store, public_id, plan) if plan else {}
    return Searched(plan, rows, made.rounds, made.is_open, made.stopped)


def rounds_made(store: Store, public_id: str) -> RoundsMade:
    """The rounds that were added to an experiment, without what they found. Raises NotFound."""
    with store.read() as connection:
        number = require(connection, public_id)
        row = connection.execute(
            select(experiment.c.searching, experiment.c.stopped).where(experiment.c.id == number)
        ).one()
        query = select(search_round).where(search_round.c.experiment_id == number).order_by(search_round.c.number)
        rounds = [
            KeptRound(kept.number, kept.created_at, kept.additions, kept.added) for kept in connection.execute(query)
        ]
    return RoundsMade(rounds, bool(row.searching), row.stopped or {})


def keep_rounds(connection: Connection, number: int, made: RoundsMade) -> None:
    """Give an experiment that was brought in the rounds that it had; it searches no further by itself."""
    rows = [{"experiment_id": number, **asdict(one)} for one in made.rounds]
    if rows:
        connection.execute(insert(search_round), rows)
    values = {"searching": made.is_open, "stopped": dict(made.stopped) or None}
    connection.execute(update(experiment).where(experiment.c.id == number).values(**values))


def plan_of(store: Store, document: Mapping[str, Any], limits: Limits | None = None) -> Plan | None:
    """What a grid asks to be found; None where it asks for nothing. Raises InvalidGrid."""
    if not document.get("refine") and not isinstance(document.get("seeds"), Mapping):
        return None
    claimed = read_claimed(document, limits or Limits(), dataset_shapes(store, dataset_ids(document)))
    problems = Problems()
    plan = read_plan(document, claimed.expansion, claimed.claims, problems)
    problems.raise_as(InvalidGrid)
    return plan


class Plans:
    """What grids ask to be found, each read once while its experiment searches."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self.store, self.limits = store, limits
        self._known: dict[int, tuple[Mapping[str, Any], Plan | InvalidGrid | None]] = {}
        self._finals: dict[int, Known] = {}
        self.adding_seconds = 0.0
        """Spent on adding trials, which any grid with as many takes; the rest is planning."""

    def of(self, number: int, grid: Mapping[str, Any]) -> Plan | None:
        """The plan of an experiment, whose grid may have been extended. Raises InvalidGrid."""
        known = self._known.get(number)
        if known is None or known[0] != grid:
            known = self._known[number] = grid, self._read(grid)
        if isinstance(known[1], InvalidGrid):
            raise known[1]
        return known[1]

    def _read(self, grid: Mapping[str, Any]) -> Plan | InvalidGrid | None:
        try:
            return plan_of(self.store, grid, self.limits)
        except InvalidGrid as error:
            # kept too: reading it again would take as long and say the same
            return error

    def has(self, number: int) -> bool:
        """Whether the plan of an experiment was read before."""
        return number in self._known

    def rows(self, number: int, plan: Plan) -> Mapping[str, Sequence[Row]]:
        """An experiment's trials, of which those that earlier rounds were planned with are not read again.

        Raises:
            NotFound: it was deleted.
        """
        return search_rows(self.store, experiment_id(number), plan, self._finals.setdefault(number, {}))

    @contextlib.contextmanager
    def adding(self) -> Generator[None]:
        """Count how long the block takes."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.adding_seconds += time.monotonic() - began

    def keep(self, numbers: Collection[int]) -> None:
        """Forget those of other experiments."""
        self._finals = {number: known for number, known in self._finals.items() if number in numbers}
        self._known = {number: known for number, known in self._known.items() if number in numbers}


def add_rounds(store: Store, limits: Limits, max_queued: int | None = None, plans: Plans | None = None) -> int:
    """Add the next round of every experiment that searches and whose trials have all ended; answers the trials added.

    Args:
        store: where they are.
        limits: of experiments.
        max_queued: unfinished trials that an owner may have.
        plans: of earlier calls.
    Raises:
        TooMany: nothing was added: an owner would have more than `max_queued` unfinished trials, as is noted with it.
    """
    plans = plans or Plans(store, limits)
    with store.read() as connection:
        searching = _searching(connection)
        # what is kept of them first: this is asked ten times a second
        unfinished = tallies(connection, searching) if searching else {}
        due = [_due(connection, number) for number in searching if not unfinished[number].unfinished]
        seen = [_due(connection, number) for number in searching if not plans.has(number)]
    plans.keep(searching)
    for one in seen:
        # while its first round is trained; what is wrong with it is told when that has ended
        with contextlib.suppress(InvalidGrid):
            plans.of(one.number, one.grid)
    added, waits = 0, None
    for one in due:
        # deleted since
        with contextlib.suppress(NotFound):
            try:
                added += _advance(store, one, plans, max_queued)
            except TooMany as error:
                # others go on
                waits = error
    if waits and not added:
        raise waits
    return added


# statements are made once: a search asks them in every round
_OWN = experiment.c.id == bindparam("number")
_SEARCHING = (
    select(experiment.c.id)
    .where(experiment.c.searching == literal(True), experiment.c.paused == literal(False), is_there)
    .order_by(experiment.c.id)
)
_DUE = select(experiment.c.id, experiment.c.grid, experiment.c.owner, experiment.c.priority, experiment.c.trials).where(
    _OWN
)
_ADDED = select(search_round.c.added).where(search_round.c.experiment_id == bindparam("number"))
_UNFINISHED_ONE = (
    select(trial.c.id)
    .where(
        trial.c.id.in_(
            select(experiment_trial.c.trial_id).where(
                experiment_trial.c.experiment_id == bindparam("number"), experiment_trial.c.wanted == literal(True)
            )
        ),
        trial.c.state.in_(_UNFINISHED),
    )
    .limit(1)
)
_ROUND = insert(search_round)
_STOPPED = update(experiment).where(_OWN).values(stopped=bindparam("why"))
_ENDED = _STOPPED.values(searching=False)
_STANDING = (
    select(experiment.c.grid, experiment.c.searching, experiment.c.paused, experiment.c.trials)
    .where(_OWN)
    .with_for_update()
)


def _searching(connection: Connection) -> list[int]:
    return list(connection.scalars(_SEARCHING))


def _has_ended(connection: Connection, number: int) -> bool:
    return connection.scalar(_UNFINISHED_ONE, {"number": number}) is None


class _Due(NamedTuple):
    """An experiment whose next round is to be worked out, as it was at one moment."""

    number: int
    grid: Mapping[str, Any]
    owner: str
    priority: int
    trials: int
    past: Past


def _due(connection: Connection, number: int) -> _Due:
    return _Due(*connection.execute(_DUE, {"number": number}).one(), _past(connection, number))


def _advance(store: Store, one: _Due, plans: Plans, max_queued: int | None) -> int:
    """Add an experiment's next round, or note that there is none to add. Raises NotFound, TooMany."""
    asked = Round(())
    try:
        plan = plans.of(one.number, one.grid)
        if plan is not None:
            asked = next_round(plan, plans.rows(one.number, plan), *one.past, most=max_queued)
    except InvalidGrid as error:
        return _end(store, one, {"grid": error.detail})
    with plans.adding():
        return _add(store, one, asked, plans.limits, max_queued)


def _add(store: Store, one: _Due, asked: Round, limits: Limits, max_queued: int | None) -> int:
    """Add what was asked for, or note why there is nothing to add. Raises NotFound, TooMany."""
    try:
        points, trials = trials_of_round(store, one.grid, asked.additions, limits)
    except InvalidGrid as error:
        return _end(store, one, {**asked.stopped, "grid": error.detail})
    if not trials:
        return _end(store, one, asked.stopped)
    most = limits.trials_per_experiment
    if one.trials + len(trials) > most:
        full = f"the experiment would have more than {most} trials"
        return _end(store, one, {**asked.stopped, **dict.fromkeys(asked.added, full)})
    try:
        return _write(store, one, asked, points, trials, max_queued)
    except TooMany as error:
        _wait(store, one.number, dict.fromkeys(asked.added, error.detail))
        raise


def _write(
    store: Store, one: _Due, asked: Round, points: Sequence[Point], trials: Sequence[Placed], max_queued: int | None
) -> int:
    """Add a round in one transaction, if the experiment is as it was; answers the trials added. Raises TooMany."""
    # whoever looks next would work out the same round
    with store.write_again() as connection:
        if not _still(connection, one):
            return 0
        total, new = add_trials(connection, one.number, points, trials, one.priority)
        refuse_long_queue(connection, one.owner, max_queued)
        if total == one.trials:
            # it asked for what has been tried
            connection.execute(_ENDED, {"number": one.number, "why": dict(asked.stopped) or None})
            return 0
        row = {
            "experiment_id": one.number,
            "number": one.past.number + 1,
            "additions": [{"point": dict(part.point), "seeds": list(part.seeds)} for part in asked.additions],
            "added": dict(asked.added),
            "created_at": utc_now(),
        }
        connection.execute(_ROUND, row)
        connection.execute(_STOPPED, {"number": one.number, "why": dict(asked.stopped) or None})
    tell_planner(store, new)
    return total - one.trials


def trials_of_round(
    store: Store, grid: Mapping[str, Any], additions: Sequence[Addition], limits: Limits
) -> tuple[list[Point], list[Placed]]:
    """Points and trials of a round."""
    points: list[Point] = []
    trials: list[Placed] = []
    for document in round_grids(grid, additions):
        found = expand(document, limits, dataset_shapes(store, dataset_ids(document)))
        points += found.points
        trials += found.trials()
    return points, trials


def _past(connection: Connection, number: int) -> Past:
    added: dict[str, int] = {}
    rounds = 0
    for one in connection.scalars(_ADDED, {"number": number}):
        rounds += 1
        for place, count in one.items():
            added[place] = added.get(place, 0) + count
    return Past(rounds, added)


def _still(connection: Connection, one: _Due) -> bool:
    """Whether an experiment is as it was when its round was worked out; it stays so until the transaction ends."""
    one_at_a_time(connection)
    if not adds_alone(connection, one.number):
        return False
    row = connection.execute(_STANDING, {"number": one.number}).one_or_none()
    if row is None or not row.searching or row.paused or row.grid != one.grid or row.trials != one.trials:
        return False
    return _past(connection, one.number) == one.past and _has_ended(connection, one.number)


def _end(store: Store, one: _Due, stopped: Mapping[str, str]) -> int:
    with store.write_again() as connection:
        if _still(connection, one):
            connection.execute(_ENDED, {"number": one.number, "why": dict(stopped) or None})
    return 0


def _wait(store: Store, number: int, why: Mapping[str, str]) -> None:
    """Note why an experiment's next round is not added yet."""
    with store.read() as connection:
        known = connection.scalar(select(experiment.c.stopped).where(experiment.c.id == number))
    if known != why:
        with store.write() as connection:
            connection.execute(_STOPPED, {"number": number, "why": dict(why)})
