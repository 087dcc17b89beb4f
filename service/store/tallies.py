"""What the trials of experiments amount to, read at one price however many there are.

Triggers keep the sums in the transactions that change trials and links (migration 0010), on PostgreSQL in rows of each
backend's own, so that nobody waits. A reader's snapshot has all of a transaction or nothing of it.
"""

import contextlib
import functools
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, and_, case, cast, delete, func, insert, literal, select, text, update
from sqlalchemy.sql import ColumnElement

from service.states import ENDED, TrialState
from service.store.column_types import Key
from service.store.held_back import stopping
from service.store.keys import among
from service.store.known_settings import documents_of
from service.store.models import experiment, experiment_trial, tally, trial
from service.store.session import Store

EVERYTHING: Final = 0
"""In place of an experiment: all trials, each once, in the state that they are in."""
_OPEN: Final = (TrialState.QUEUED, TrialState.RUNNING)
_SEEN: Final = (TrialState.COMPLETED, TrialState.DIVERGED, TrialState.RUNNING)
_SUMS: Final = ("trials", "done", "goal", "own")


@dataclass
class Tally:
    """What the trials of an experiment amount to, as it sees them: what it does not want is cancelled."""

    counts: dict[TrialState, int] = field(default_factory=lambda: dict.fromkeys(TrialState, 0))
    done: int = 0
    """Steps of trials that have ended."""
    goal: int = 0
    """Steps that those which have not ended are to do from their beginning; 0 for those without a number of steps."""
    own: int = 0
    """Steps of ended trials that started since the experiment was made."""
    changes: int = 0
    """Larger after every transaction that changed its trials."""
    first_started: datetime | None = None
    """Of trials that ran."""
    last_ended: datetime | None = None

    def add(
        self,
        state: str,
        trials: int,
        done: int,
        goal: int,
        own: int,
        changes: int,
        first_started: datetime | None,
        last_ended: datetime | None,
    ) -> None:
        """Count what a state's trials amount to."""
        self.counts[TrialState(state)] = int(trials)
        self.done, self.goal, self.own = self.done + int(done), self.goal + int(goal), self.own + int(own)
        self.changes += int(changes)
        if trials and state in _SEEN:
            self.first_started = min((time for time in (self.first_started, first_started) if time), default=None)
            self.last_ended = max((time for time in (self.last_ended, last_ended) if time), default=None)

    def stop(self) -> None:
        """Count what is open as cancelled: it is, although not all rows say so yet."""
        if not self.unfinished:
            # nor will they: no number of `changes` stands for two things
            return
        self.counts[TrialState.CANCELLED] += self.unfinished
        self.counts |= dict.fromkeys(_OPEN, 0)
        self.goal = 0
        self.changes += 1

    @property
    def trained(self) -> int:
        """How many have been trained to an end."""
        return self.counts[TrialState.COMPLETED] + self.counts[TrialState.DIVERGED]

    @property
    def unfinished(self) -> int:
        """How many wait or run."""
        return sum(self.counts[state] for state in _OPEN)


def tallies(connection: Connection, numbers: Sequence[int]) -> dict[int, Tally]:
    """The tally of each of these experiments."""
    query = _BY_STATE.where(among(connection, tally.c.experiment_id, numbers))
    found = {number: Tally() for number in numbers}
    for number, *sums in connection.execute(query):
        found[number].add(*sums)
    for number in stopping(connection).intersection(found):
        found[number].stop()
    return found


def sums_by_state() -> list[ColumnElement[Any]]:
    """What `Tally.add` takes, of a query that groups tallies by experiment and state."""
    sums = [cast(func.sum(tally.c[name]), Key) for name in (*_SUMS, "changes")]
    return [tally.c.state, *sums, func.min(tally.c.first_started), func.max(tally.c.last_ended)]


_BY_STATE: Final = select(tally.c.experiment_id, *sums_by_state()).group_by(tally.c.experiment_id, tally.c.state)


def all_trials(connection: Connection) -> dict[TrialState, int]:
    """All trials by state; of what is being cancelled, those that others want too count as cancelled until it is."""
    counts = tallies(connection, [EVERYTHING])[EVERYTHING].counts
    if stopped := stopping(connection):
        own = and_(tally.c.experiment_id.in_(stopped), tally.c.state == TrialState.QUEUED)
        waiting = connection.scalar(select(cast(func.sum(tally.c.trials), Key)).where(own)) or 0
        gone = min(int(waiting), counts[TrialState.QUEUED])
        counts[TrialState.QUEUED] -= gone
        counts[TrialState.CANCELLED] += gone
    return counts


class Difference(NamedTuple):
    """A sum that is not what it should be."""

    experiment: int
    """Its key; 0: all trials."""
    state: str
    name: str
    kept: int
    counted: int


def differences(connection: Connection) -> list[Difference]:
    """Everything counted anew and held against what is kept; looks at every trial there is."""
    sums = [cast(func.sum(tally.c[name]), Key) for name in _SUMS]
    query = select(tally.c.experiment_id, tally.c.state, *sums).group_by(tally.c.experiment_id, tally.c.state)
    kept = {(row[0], row[1]): tuple(map(int, row[2:])) for row in connection.execute(query)}
    counted = _recount(connection)
    found = []
    for key in sorted(kept.keys() | counted.keys()):
        pairs = zip(_SUMS, kept.get(key, _NONE), counted.get(key, _NONE), strict=True)
        found += [Difference(*key, name, was, ought) for name, was, ought in pairs if was != ought]
    return found


_NONE: Final = (0, 0, 0, 0)


def repair(connection: Connection) -> list[Difference]:
    """Add what is missing; answers what was wrong.

    Sums add up in any order: what others change meanwhile counts besides, and nobody has to wait. For a transaction
    that sees one state of the store.
    """
    wrong = differences(connection)
    for number, state in dict.fromkeys((one.experiment, one.state) for one in wrong):
        missing = {one.name: one.counted - one.kept for one in wrong if one[:2] == (number, state)}
        key = {"experiment_id": number, "state": state, "slot": _REPAIRED}
        here = and_(*(tally.c[name] == value for name, value in key.items()))
        added = {name: tally.c[name] + more for name, more in {**missing, "changes": 1}.items()}
        if not connection.execute(update(tally).where(here).values(**added)).rowcount:
            connection.execute(insert(tally).values(**key, **missing, changes=1))
    return wrong


_REPAIRED: Final = -1
"""The slot of what was repaired: no backend has it."""


def fold(store: Store) -> int:
    """Add rows of backends that are gone up to one for each experiment and state; answers of how many there were.

    Otherwise every connection that ever was would leave rows behind, and each look would sum over them.
    """
    if store.dialect != "postgresql":
        return 0
    with store.read() as connection:
        if not connection.scalar(text(f"SELECT EXISTS (SELECT 1 FROM tally WHERE {_LEFT_BEHIND})")):
            return 0
    with store.write() as connection:
        # one at a time; a backend that gets a number again meanwhile begins its rows anew
        if not connection.scalar(select(func.pg_try_advisory_xact_lock(_FOLD_LOCK))):
            return 0
        return int(connection.scalar(text(_FOLDED)) or 0)


_FOLD_LOCK: Final = 715_225_745
_LEFT_BEHIND: Final = "slot > 0 AND slot NOT IN (SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL)"
_ADDED: Final = ", ".join(f"{name} = tally.{name} + excluded.{name}" for name in (*_SUMS, "changes"))
_FOLDED: Final = (
    f"WITH gone AS (DELETE FROM tally WHERE {_LEFT_BEHIND} RETURNING *), added AS ("
    f"INSERT INTO tally (experiment_id, state, slot, {', '.join(_SUMS)}, changes, first_started, last_ended) "
    f"SELECT experiment_id, state, 0, {', '.join(f'sum({name})' for name in _SUMS)}, sum(changes), "
    "min(first_started), max(last_ended) FROM gone GROUP BY experiment_id, state "
    f"ON CONFLICT (experiment_id, state, slot) DO UPDATE SET {_ADDED}, "
    "first_started = least(tally.first_started, excluded.first_started), "
    "last_ended = greatest(tally.last_ended, excluded.last_ended)) SELECT count(*) FROM gone"
)


def forget_tally(connection: Connection, number: int) -> None:
    """Delete the sums of an experiment that has no trials any more."""
    connection.execute(delete(tally).where(tally.c.experiment_id == number))


@functools.cache
def _counting() -> Select[Any, Any, Any, int, Any, Any, Any]:
    """Trials by experiment, state and settings, counted, with the sums of what is kept of them."""
    link = experiment_trial.c
    is_open = and_(link.wanted == literal(True), trial.c.state.in_(_OPEN))
    done = case((trial.c.state.in_(ENDED), func.coalesce(trial.c.last_step, 0)), else_=0)
    own = case((trial.c.started_at >= experiment.c.created_at, done), else_=0)
    state = case((link.wanted == literal(True), trial.c.state), else_=TrialState.CANCELLED.value).label("state")
    opened = case((is_open, 1), else_=0)
    each = (
        select(
            link.experiment_id, state, trial.c.settings_id, opened.label("open"), done.label("done"), own.label("own")
        )
        .select_from(experiment_trial)
        .join(trial, trial.c.id == link.trial_id)
        .join(experiment, experiment.c.id == link.experiment_id)
        .subquery()
    )
    of = (each.c.experiment_id, each.c.state, each.c.settings_id)
    sums = (func.count(), func.sum(each.c.open), func.sum(each.c.done), func.sum(each.c.own))
    return select(*of, *sums).group_by(*of)


def _recount(connection: Connection) -> dict[tuple[int, str], tuple[int, ...]]:
    found: dict[tuple[int, str], tuple[int, ...]] = {}
    goals: dict[int, int] = {}
    for number, name, key, trials, opened_, done_, own_ in connection.execute(_counting()):
        if opened_ and key not in goals:
            goals[key] = documents_of(connection, {key})[key]["training"].get("steps") or 0
        goal = int(opened_) * goals[key] if opened_ else 0
        before = found.get((number, name), _NONE)
        more = (int(trials), int(done_), goal, int(own_))
        found[number, name] = tuple(a + b for a, b in zip(before, more, strict=True))
    for name, count in connection.execute(select(trial.c.state, func.count()).group_by(trial.c.state)):
        found[EVERYTHING, name] = (int(count), 0, 0, 0)
    return found


@contextlib.contextmanager
def repairing(store: Store) -> Generator[Connection]:
    """A transaction that sees one state of the store and may change it."""
    with store.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield connection
