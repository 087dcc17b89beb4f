"""What has lately been done and what waits, over all experiments: throughput, queue by owner, failures by reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, case, func, literal_column, select

from service.states import TrialState
from service.store.held_back import held_back, still_wants
from service.store.ids import experiment_id, trial_id
from service.store.models import experiment, experiment_trial, runs, tally, trial, waits
from service.store.session import Store, utc_now
from service.store.tallies import all_trials

BUCKETS: Final = 12
BUCKET: Final = timedelta(minutes=5)
FAILED_WITHIN: Final = timedelta(hours=24)
COUNTED: Final = 20_000
"""Waiting trials are counted one by one up to here."""
_MOST_FAILURES: Final = 1000
_MOST_REASONS: Final = 20
_MOST_WORDS: Final = 200


@dataclass(frozen=True)
class Bucket:
    """Trials that ended within five minutes."""

    began_at: datetime
    ended: dict[TrialState, int]
    steps: int
    """Up to which they were measured, summed."""


@dataclass(frozen=True)
class OwnerQueue:
    """What waits and runs on behalf of one owner's experiments."""

    owner: str
    queued: int
    running: int
    experiments: list[str]


@dataclass(frozen=True)
class Failures:
    """Trials that failed for one reason, the first line of their error."""

    reason: str
    count: int
    last_at: datetime
    trial: str
    """The last one."""
    experiment: str | None


@dataclass(frozen=True)
class Activity:
    """The last hour, what is open, and what failed within a day."""

    buckets: list[Bucket]
    queue: list[OwnerQueue]
    failures: list[Failures]
    per_hour: float | None
    """Trials at the rate of the last hour, or since the first of them began; null before one has ended."""
    seconds_left: float | None
    """For everything that waits or runs, at that rate; 0 where nothing does, null without a rate."""


def activity(store: Store, now: datetime | None = None) -> Activity:
    """What has lately been done and what waits."""
    now = now or utc_now()
    with store.read() as connection:
        since = now - BUCKETS * BUCKET
        buckets = _buckets(connection, since)
        queue = _queue(connection)
        ended = sum(sum(one.ended.values()) for one in buckets)
        per_hour = ended / _hours_busy(connection, since, now) if ended else None
        failures = _failures(connection, now - FAILED_WITHIN)
    left = sum(one.queued + one.running for one in queue)
    seconds = 0.0 if not left else None if per_hour is None else round(left / per_hour * 3600, 1)
    return Activity(buckets, queue, failures, per_hour, seconds)


def _buckets(connection: Connection, since: datetime) -> list[Bucket]:
    starts = [since + place * BUCKET for place in range(BUCKETS)]
    place = case(
        *((trial.c.ended_at < start + BUCKET, number) for number, start in enumerate(starts[:-1])), else_=BUCKETS - 1
    )
    each = select(place.label("place"), trial.c.state, trial.c.last_step).where(trial.c.ended_at >= since).subquery()
    sums = (func.count(), func.coalesce(func.sum(each.c.last_step), 0))
    found = [Bucket(start, {}, 0) for start in starts]
    for number, state, count, steps in connection.execute(
        select(each.c.place, each.c.state, *sums).group_by(each.c.place, each.c.state)
    ):
        known = found[number]
        ended = {**known.ended, TrialState(state): count}
        found[number] = Bucket(known.began_at, ended, known.steps + int(steps))
    return found


def _hours_busy(connection: Connection, since: datetime, now: datetime) -> float:
    """How long it took to end what has ended since: a service that has just begun is no slow one."""
    first = connection.scalar(select(func.min(trial.c.started_at)).where(trial.c.ended_at >= since))
    began = max(since, first or since)
    return max((now - began).total_seconds(), 1.0) / 3600


def _queue(connection: Connection) -> list[OwnerQueue]:
    counts: dict[int, tuple[int, int]] = {number: (queued, 0) for number, queued in _waiting(connection).items()}
    query = select(trial.c.queued_for, func.count()).where(runs).group_by(trial.c.queued_for)
    for number, running in connection.execute(query):
        counts[number] = (counts.get(number, (0, 0))[0], running)
    named = select(experiment.c.id, experiment.c.owner).where(experiment.c.id.in_(counts))
    owners = {row.id: row.owner for row in connection.execute(named)}
    found: dict[str, OwnerQueue] = {}
    for number, (queued, running) in sorted(counts.items(), key=lambda item: item[0] or 0):
        owner = owners.get(number, "")
        known = found.get(owner, OwnerQueue(owner, 0, 0, []))
        held = [*known.experiments, experiment_id(number)] if number in owners else known.experiments
        found[owner] = OwnerQueue(owner, known.queued + queued, known.running + running, held)
    return sorted(found.values(), key=lambda one: (-(one.queued + one.running), one.owner))


def _waiting(connection: Connection) -> dict[int, int]:
    """Experiment -> trials that wait on its behalf; of very many, those that several want count for each of them."""
    if all_trials(connection)[TrialState.QUEUED] > COUNTED:
        trials = func.sum(tally.c.trials)
        query = (
            select(tally.c.experiment_id, trials)
            .join(experiment, experiment.c.id == tally.c.experiment_id)
            # those that have ended, which are most, have a row of 0
            .where(tally.c.state == TrialState.QUEUED, tally.c.trials != 0, still_wants)
            .group_by(tally.c.experiment_id)
            .having(trials > 0)
        )
        return {number: int(count) for number, count in connection.execute(query)}
    gone = held_back(connection).waiting
    query = select(trial.c.queued_for, func.count()).where(waits).group_by(trial.c.queued_for)
    return {number: count for number, count in connection.execute(query) if number not in gone}


def _failures(connection: Connection, since: datetime) -> list[Failures]:
    """By reason, the most frequent first; of very many the last thousand are told apart."""
    query = (
        select(trial.c.id, trial.c.error, trial.c.ended_at)
        # literal, as the index has it: neither database matches a bound value with its condition
        .where(trial.c.state == literal_column("'failed'"), trial.c.ended_at >= since)
        .order_by(trial.c.ended_at.desc())
        .limit(_MOST_FAILURES)
    )
    found: dict[str, tuple[int, datetime, int]] = {}
    for number, error, at in connection.execute(query):
        reason = reason_of(error)
        count, last, one = found.get(reason, (0, at, number))
        found[reason] = (count + 1, last, one)
    holders = _holders(connection, [one for _, _, one in found.values()])
    told = [Failures(reason, count, at, trial_id(one), holders.get(one)) for reason, (count, at, one) in found.items()]
    return sorted(told, key=lambda one: -one.count)[:_MOST_REASONS]


def reason_of(error: str | None) -> str:
    """The first line of an error."""
    lines = (error or "").strip().splitlines()
    return lines[0][:_MOST_WORDS] if lines else "no reason was recorded"


def _holders(connection: Connection, trials: Sequence[int]) -> dict[int, str]:
    """Trial -> the oldest experiment that holds it."""
    link = experiment_trial.c
    query = select(link.trial_id, func.min(link.experiment_id)).where(link.trial_id.in_(trials))
    return {one: experiment_id(holder) for one, holder in connection.execute(query.group_by(link.trial_id))}
