"""Leases on trials whose kept weights are to be measured again: as those on trials (leases.py), in rows of their own.

How long they hold is noted once for each dispatcher, with its leases on trials (holders.py); rows leased by an older
version have a time of their own. The trial itself stays completed; what is fenced is its row in the request. Locks are
taken in one order: trials, then these rows, each in key order.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, and_, bindparam, func, literal, literal_column, or_, select, update

from service.grid.remeasurement import Asked, layers_asked
from service.store import holders
from service.store.incarnation import dispatching
from service.store.keys import among
from service.store.known_settings import documents_of
from service.store.leases import DEVICES
from service.store.measured_models import kept_weights, measurement
from service.store.models import experiment, holder, remeasured_trial, remeasurement, trial
from service.store.next_stack import COUNTED, Waiting
from service.store.session import Store, lease_clock, utc_now

Held = tuple[int, int]
"""(key of the row, attempt)."""
MAX_FAILURES = 3
"""Crashes while alone after which one is given up, as a trial is."""

# literal, since neither database matches a bound value with an index's condition
_waits = remeasured_trial.c.state == literal_column("'queued'")
_runs = remeasured_trial.c.state == literal_column("'running'")


class LeasedWeights(NamedTuple):
    """A trial whose kept weights its holder may measure, and report under this attempt's number."""

    key: int
    attempt: int
    trial_id: int
    settings: dict[str, Any]
    seed: int
    stack_key: str
    queued_for: int
    """The experiment."""
    device: str
    failures: int
    asked: Asked
    layers: tuple[int, ...]
    """Numbers of those that are asked for."""
    weights: tuple[tuple[int, bytes], ...]
    """(step, file) of every step to measure."""
    unmeasured: tuple[int, ...]
    """Of these steps those at which nothing was measured so far."""


def lease_weights(
    store: Store,
    owner: str,
    *,
    lease_seconds: float,
    choose: Callable[[dict[str, Any], Waiting], int],
    enough: Callable[[dict[str, Any]], int] = lambda _settings: COUNTED,
    devices: Sequence[str] = DEVICES,
) -> list[LeasedWeights]:
    """Lease trials of one request and one shape, of the request whose turn it is; arguments as of `lease_stack`."""
    with dispatching(store) as connection:
        table = remeasured_trial.c
        number = _next_request(connection, devices)
        if number is None:
            return []
        here = and_(_waits, table.remeasurement_id == number, table.device.in_(devices))
        head = connection.execute(
            select(table.stack_key, table.device, table.stack_limit, trial.c.settings_id)
            .join(trial, trial.c.id == table.trial_id)
            .where(here)
            .order_by(table.id)
            .limit(1)
        ).one_or_none()
        if head is None:
            return []
        same = and_(here, *(table[name] == getattr(head, name) for name in ("stack_key", "device", "stack_limit")))
        wanted = head.stack_limit
        if not wanted:
            document = dict(documents_of(connection, {head.settings_id})[head.settings_id])
            counted = select(table.id).where(same).limit(min(COUNTED, enough(document))).subquery()
            waiting = int(connection.scalar(select(func.count()).select_from(counted)) or 1)
            wanted = choose(document, Waiting(waiting))
        query = select(table.id).where(same).order_by(table.id).limit(wanted).with_for_update(skip_locked=True)
        keys = list(connection.scalars(query))
        if not keys:
            return []
        now, clock = lease_clock(connection)
        _update(
            connection,
            keys,
            state="running",
            attempt=table.attempt + 1,
            owner=owner,
            lease_until=None,
            lease_clock=clock,
        )
        holders.extend_if_late(connection, owner, lease_seconds, now, clock)
        free = select(remeasurement.c.id).where(remeasurement.c.id == number).with_for_update(skip_locked=True)
        connection.execute(update(remeasurement).where(remeasurement.c.id.in_(free)).values(leased_at=utc_now()))
        return _leased(connection, keys)


def _next_request(connection: Connection, devices: Sequence[str]) -> int | None:
    """The request whose turn it is: by priority, then the one that was leased for longest ago."""
    return connection.scalar(_NEXT_REQUEST, {"devices": list(devices)})


_HAS_WORK = (
    select(literal(1))
    .where(
        _waits,
        remeasured_trial.c.remeasurement_id == remeasurement.c.id,
        remeasured_trial.c.device.in_(bindparam("devices", expanding=True)),
    )
    .exists()
)
_NEXT_REQUEST: Final = (
    select(remeasurement.c.id)
    .join(experiment, experiment.c.id == remeasurement.c.experiment_id)
    .where(_HAS_WORK, experiment.c.paused == literal(False))
    .order_by(experiment.c.priority.desc(), remeasurement.c.leased_at.asc().nulls_first(), remeasurement.c.id)
    .limit(1)
)
"""Made once: whoever has nothing to do asks it."""


def _leased(connection: Connection, keys: Sequence[int]) -> list[LeasedWeights]:
    """What the rows that were just leased ask for, with the weights."""
    table = remeasured_trial.c
    rows = connection.execute(
        select(
            *(table.id, table.attempt, table.trial_id, table.steps, table.device, table.failures),
            *(trial.c.settings_id, trial.c.seed, trial.c.stack_key),
            *(remeasurement.c.experiment_id, remeasurement.c.asked),
        )
        .join(trial, trial.c.id == table.trial_id)
        .join(remeasurement, remeasurement.c.id == table.remeasurement_id)
        .where(among(connection, table.id, keys))
        .order_by(table.id)
    ).all()
    documents = documents_of(connection, {row.settings_id for row in rows})
    trials, steps = [row.trial_id for row in rows], sorted({step for row in rows for step in row.steps})
    kept, measured = kept_weights.c, measurement.c
    files: dict[int, dict[int, bytes]] = {}
    for key, step, content in connection.execute(
        select(kept.trial_id, kept.step, kept.content).where(
            among(connection, kept.trial_id, trials), among(connection, kept.step, steps)
        )
    ):
        files.setdefault(key, {})[step] = bytes(content)
    there = {
        (row.trial_id, row.step)
        for row in connection.execute(
            select(measured.trial_id, measured.step).where(
                among(connection, measured.trial_id, trials), among(connection, measured.step, steps)
            )
        )
    }
    return [
        LeasedWeights(
            row.id,
            row.attempt,
            row.trial_id,
            dict(documents[row.settings_id]),
            row.seed,
            row.stack_key,
            row.experiment_id,
            row.device,
            row.failures,
            row.asked,
            tuple(layers_asked(row.asked, documents[row.settings_id])),
            tuple((step, files[row.trial_id][step]) for step in row.steps if step in files.get(row.trial_id, {})),
            tuple(step for step in row.steps if (row.trial_id, step) not in there),
        )
        for row in rows
    ]


def hold(connection: Connection, held: Collection[Held]) -> list[int]:
    """The fence: which of these rows still run under these attempts; nobody changes them until the transaction ends."""
    table = remeasured_trial.c
    query = select(table.id, table.attempt).where(among(connection, table.id, [key for key, _ in held]), _runs)
    ours = frozenset(held)
    rows = connection.execute(query.order_by(table.id).with_for_update())
    return [row.id for row in rows if (row.id, row.attempt) in ours]


def compare_weights(store: Store, owner: str, held: Collection[Held]) -> frozenset[int]:
    """Compare what a dispatcher believes to measure with what runs under its name; renewing is for all its leases.

    What it knows nothing of, since an answer was lost, goes back to the queue.

    Returns:
        Rows that are no longer its own, and must be dropped.
    """
    table, believed = remeasured_trial.c, frozenset(held)
    query = select(table.id, table.attempt).where(_runs, table.owner == owner)
    with store.read() as connection:
        running = frozenset((row.id, row.attempt) for row in connection.execute(query))
    if unknown := running - believed:
        release_weights(store, [*unknown])
    return frozenset(key for key, _ in believed - running)


def release_weights(store: Store, held: Sequence[Held]) -> None:
    """Hand rows back to the queue, uncharged."""
    with dispatching(store) as connection:
        _update(connection, hold(connection, held), **_QUEUED)


def fail_weights(store: Store, held: Sequence[Held], error: str, *, is_final: bool) -> None:
    """A stack was not measured: its rows are tried again in stacks of half its size, one that was alone is charged.

    Args:
        store: where they are.
        held: the stack.
        error: why.
        is_final: it would happen again; the one that is alone ends failed.
    """
    with dispatching(store) as connection:
        kept, table = hold(connection, held), remeasured_trial.c
        if len(held) > 1:
            _update(connection, kept, **_QUEUED, stack_limit=len(held) // 2)
            return
        failures = connection.scalar(select(table.failures).where(among(connection, table.id, kept)))
        if failures is not None and (is_final or failures + 1 >= MAX_FAILURES):
            ended = {**_QUEUED, "state": "failed", "ended_at": utc_now(), "error": error[:2000]}
            _update(connection, kept, **ended, failures=table.failures + 1)
        else:
            _update(connection, kept, **_QUEUED, failures=table.failures + 1, stack_limit=1)


def sweep_weights(store: Store) -> int:
    """Put rows whose lease has run out back into the queue; answers how many."""
    with dispatching(store) as connection:
        now, clock = lease_clock(connection)
        table = remeasured_trial.c
        living = select(holder.c.owner).where(holder.c.until >= now, holder.c.clock == clock)
        is_left = and_(table.lease_until.is_(None), table.owner.not_in(living))
        expired = or_(is_left, table.lease_until < now, table.lease_clock != clock)
        query = select(table.id).where(_runs, expired).order_by(table.id).with_for_update(skip_locked=True)
        keys = list(connection.scalars(query))
        _update(connection, keys, **_QUEUED)
    return len(keys)


def _update(connection: Connection, keys: Collection[int], **values: Any) -> None:
    """Change rows that are locked in this transaction."""
    if keys:
        there = among(connection, remeasured_trial.c.id, keys)
        connection.execute(update(remeasured_trial).where(there).values(**values))


_QUEUED: dict[str, Any] = {"state": "queued", "owner": None, "lease_until": None, "lease_clock": None}
