"""Leases on trials: taken for a dispatcher as stacks, renewed, restarted, handed back, and swept when they run out.

Every lease raises the trial's attempt number, and every later write names it; see fence.py. How long it holds is noted
once for each dispatcher; see holders.py. docs/trial_states.md draws the states.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, literal, select, update
from sqlalchemy.sql import ColumnElement

from service.states import TrialState
from service.store import fence, held_back, holders
from service.store.attempts import Place, close_attempts, open_attempts
from service.store.beginnings import go_on
from service.store.checkpoints import drop_checkpoints
from service.store.incarnation import dispatching
from service.store.keys import among
from service.store.models import runs, settings, trial, waits
from service.store.session import Store, lease_clock, utc_now
from service.store.stalled_copies import end_stalled_copies
from service.store.turns import end_turn, next_turn, waiting_experiments
from service.store.wanting import lock_trials

DEVICES = ("auto", "cpu", "gpu")
"""What trials may ask for."""
NOWHERE = Place()
COUNTED = 20_000
"""Waiting trials are counted up to here at most."""
_COUNTED_KEYS = 64
"""And stack keys up to here."""


class Waiting(NamedTuple):
    """What waits when a stack is chosen."""

    trials: int
    """With the stack key of the queue's head; counted up to a bound."""
    keys: int = 1
    """Stack keys of all waiting trials, that one among them; counted up to a bound."""
    device: str = "auto"
    """Which trainers may have that head: auto, cpu or gpu."""


class Leased(NamedTuple):
    """A trial that its holder may run and report under this attempt's number."""

    trial_id: int
    attempt: int
    settings: dict[str, Any]
    seed: int
    stack_key: str
    queued_for: int
    device: str = "auto"
    """auto, cpu or gpu: which trainers may have it."""
    failures: int = 0
    """Charged so far: how often it crashed alone, under whichever dispatcher."""
    interruptions: int = 0
    """Nodes lost under it so far."""
    checkpoint_step: int = -1
    """Rows up to this step stay, and it goes on from its checkpoint; -1: from the beginning."""
    keeps: bool = False
    """Its last state is to be kept."""
    continued_from: dict[str, Any] | None = None
    """Of one that went on from another trial's state: trial, fingerprint and step."""

    @property
    def held(self) -> holders.Pair:
        """(trial id, attempt)."""
        return self.trial_id, self.attempt


def lease_stack(
    store: Store,
    owner: str,
    *,
    lease_seconds: float,
    choose: Callable[[dict[str, Any], Waiting], int],
    enough: Callable[[dict[str, Any]], int] = lambda _settings: COUNTED,
    devices: Sequence[str] = DEVICES,
    place: Place = NOWHERE,
    but: Collection[str] = (),
) -> list[Leased]:
    """Lease trials of one shape: the head of the queue and others with its stack key.

    Trials of a stack that crashed are leased only together with such trials, in stacks of half its size: what is known
    of a trial that kills its trainers outlives the dispatcher that learnt it.

    Args:
        store: where the queue is.
        owner: the dispatcher's identity.
        lease_seconds: how long the lease holds unless renewed.
        choose: from the head's settings and what waits to how many with its stack key to lease; 0: leave them all.
        enough: from the head's settings to how many waiting trials are counted: more make no difference to `choose`.
        devices: what the trainer may be given, of auto, cpu and gpu.
        place: where it runs.
        but: a few stack keys that are passed over.
    Returns:
        The leased trials in queue order; empty when nothing waits.
    """
    with dispatching(store) as connection:
        go_on(connection)
        held_back.begin_leasing(connection)
        held = held_back.held_back(connection)
        turn = next_turn(connection, devices, held.waiting, but)
        if turn is None:
            return []
        ready = and_(waits, trial.c.device.in_(devices))
        mine = and_(ready, trial.c.priority == turn.priority, _waits_for(turn.experiment))
        mine = mine if turn.head is None else and_(mine, trial.c.id == turn.head)
        head = connection.execute(
            select(*(trial.c[name] for name in _SHARED), settings.c.document)
            .join(settings, settings.c.id == trial.c.settings_id)
            .where(mine)
            .order_by(trial.c.queued_for, trial.c.id)
            .limit(1)
        ).one_or_none()
        if head is None:
            return []
        # a stack goes on from one step
        shape = and_(*(trial.c[name] == getattr(head, name) for name in _SHARED))
        same = and_(ready, trial.c.priority == turn.priority, shape)
        if held.waiting:
            may = set(waiting_experiments(connection, same)) - held.waiting
            same = and_(same, trial.c.queued_for.in_(may))
        wanted = head.stack_limit
        if not wanted:
            most = min(COUNTED, enough(head.document))
            counted = select(trial.c.queued_for).where(same).limit(most).subquery()
            waiting = int(connection.scalar(select(func.count()).select_from(counted)) or 1)
            wanted = choose(head.document, Waiting(waiting, _waiting_keys(connection), head.device))
        # picked first, then updated: a LIMIT inside the UPDATE may be evaluated twice and lease too many
        keys = _pick(connection, and_(same, _waits_for(turn.experiment)), wanted)
        # others of the same shape ride along: their turn is not used up
        keys += _pick(connection, and_(same, trial.c.queued_for != turn.experiment), wanted - len(keys))
        if not keys:
            return []
        end_turn(connection, turn)
        held_back.let_go(connection, held.stopping, among(connection, trial.c.id, keys))
        return _lease(connection, keys, owner, lease_seconds, place)


_SHARED = ("stack_key", "stack_limit", "checkpoint_step", "device")
"""What the trials of a stack have in common."""


def _waits_for(experiment: int) -> ColumnElement[bool]:
    """Trials that wait for one experiment.

    As a range, since they are wanted in the order of (experiment, id), which the indexes of waiting trials alone have:
    told that all are of one experiment, PostgreSQL walks the primary key past everything that has ended.
    """
    return trial.c.queued_for.between(experiment, experiment)


def _waiting_keys(connection: Connection) -> int:
    """Stack keys that wait, counted up to a bound; one step through the index for each, however many trials."""
    first = select(func.min(trial.c.stack_key).label("key"), literal(1).label("number")).where(waits)
    each = first.cte("each", recursive=True)
    following = select(func.min(trial.c.stack_key)).where(waits, trial.c.stack_key > each.c.key).scalar_subquery()
    more = select(following, each.c.number + 1).where(each.c.key.is_not(None), each.c.number < _COUNTED_KEYS)
    each = each.union_all(more)
    return int(connection.scalar(select(func.count(each.c.key))) or 1)


def _pick(connection: Connection, condition: ColumnElement[bool], most: int) -> list[int]:
    """Lock at most so many waiting trials that nobody else is leasing."""
    if most <= 0:
        return []
    query = (
        select(trial.c.id)
        .where(condition)
        .order_by(trial.c.queued_for, trial.c.id)
        .limit(most)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return list(connection.scalars(query))


def _lease(connection: Connection, keys: Sequence[int], owner: str, lease_seconds: float, place: Place) -> list[Leased]:
    now, clock = lease_clock(connection)
    holders.extend_if_late(connection, owner, lease_seconds, now, clock)
    leased = (
        update(trial)
        .where(among(connection, trial.c.id, keys))
        .values(
            state=TrialState.RUNNING,
            attempt=trial.c.attempt + 1,
            owner=owner,
            lease_until=None,
            lease_clock=clock,
            started_at=utc_now(),
            ended_at=None,
            error=None,
        )
        .returning(
            trial.c.id,
            trial.c.attempt,
            trial.c.settings_id,
            trial.c.seed,
            trial.c.stack_key,
            trial.c.queued_for,
            trial.c.device,
            trial.c.failures,
            trial.c.interruptions,
            trial.c.checkpoint_step,
            trial.c.keeps,
            trial.c.continued_from,
        )
    )
    rows = connection.execute(leased).all()
    open_attempts(connection, keys, owner, place)
    # each document is read once, however many seeds share it
    shared = {row.settings_id for row in rows}
    query = select(settings.c.id, settings.c.document).where(among(connection, settings.c.id, list(shared)))
    documents = {row.id: row.document for row in connection.execute(query)}
    order = {key: index for index, key in enumerate(keys)}
    leased = (Leased(*row)._replace(settings=documents[row.settings_id]) for row in rows)
    return sorted(leased, key=lambda one: order[one.trial_id])


class Renewed(NamedTuple):
    """What a dispatcher learns when it renews."""

    taken: frozenset[holders.Pair]
    """(trial id, attempt) of what is no longer its own, and must be dropped; not what its own calls handed back."""
    is_known: bool
    """Whether its leases had not been forgotten: otherwise it must look through what it holds."""


def renew_all(store: Store, owner: str, lease_seconds: float) -> Renewed:
    """Prolong everything that a dispatcher holds, however much that is."""
    with dispatching(store) as connection:
        now, clock = lease_clock(connection)
        is_known = holders.extend(connection, owner, lease_seconds, now, clock)
        return Renewed(holders.told(connection, owner), is_known)


def renew(store: Store, held: Sequence[tuple[int, int]], lease_seconds: float) -> frozenset[int]:
    """Prolong the leases on some trials, which are looked at one by one.

    Those of their holders hold longer by it too. Answers the trials that are no longer held under these attempts, and
    must be dropped.
    """
    with dispatching(store) as connection:
        kept = fence.hold(connection, held)
        now, clock = lease_clock(connection)
        for owner in holders.owners_of(connection, kept):
            holders.extend(connection, owner, lease_seconds, now, clock)
        own_time = and_(among(connection, trial.c.id, kept), trial.c.lease_until.is_not(None))
        connection.execute(update(trial).where(own_time).values(lease_until=None, lease_clock=clock))
    return frozenset(key for key, _ in held).difference(kept)


def reconcile(store: Store, owner: str, held: Collection[tuple[int, int]]) -> frozenset[tuple[int, int]]:
    """Compare what a dispatcher believes to hold with what runs under its name, after a call was not answered.

    What it knows nothing of, since the answer to its lease was lost, goes back to the queue.

    Returns:
        (trial id, attempt) of what is no longer its own, and must be dropped.
    """
    with dispatching(store) as connection:
        running = frozenset(holders.held_by(connection, owner))
        believed = frozenset(held)
        if unknown := running - believed:
            _requeue(connection, fence.hold(connection, unknown), "expired")
        return believed - running


def restart(
    store: Store,
    held: Sequence[tuple[int, int]],
    lease_seconds: float,
    *,
    charge: bool,
    error: str,
    lost: bool = False,
    afresh: bool = False,
) -> dict[int, int]:
    """Lease held trials once more to the same holder, as one stack.

    Args:
        store: where they are.
        held: (trial id, attempt) of the next stack; after a crash, no later stack of theirs will be larger.
        lease_seconds: how long the new leases hold unless renewed.
        charge: count a failure.
        error: why the attempts ended.
        lost: their node was lost, which says nothing about them: count an interruption.
        afresh: their checkpoints cannot be read: begin at the beginning.
    Returns:
        The new attempt of each trial that was still the holder's.
    """
    with dispatching(store) as connection:
        kept = fence.hold(connection, held)
        owner = next(iter(holders.owners_of(connection, kept)), None)
        if owner is None:
            return {}
        now, clock = lease_clock(connection)
        holders.extend_if_late(connection, owner, lease_seconds, now, clock)
        close_attempts(connection, kept, "interrupted" if lost else "restarted", error)
        if afresh:
            drop_checkpoints(connection, kept)
            _update(connection, kept, continued_from=None)
        rows = connection.execute(
            update(trial)
            .where(among(connection, trial.c.id, kept))
            .values(
                attempt=trial.c.attempt + 1,
                failures=trial.c.failures + int(charge),
                interruptions=trial.c.interruptions + int(lost),
                stack_limit=trial.c.stack_limit if lost or afresh else len(held),
                error=error,
                lease_until=None,
                lease_clock=clock,
            )
            .returning(trial.c.id, trial.c.attempt)
        )
        attempts = {row.id: row.attempt for row in rows}
        open_attempts(connection, kept, owner, NOWHERE)
        return attempts


def release(store: Store, held: Sequence[tuple[int, int]]) -> None:
    """Hand running trials back to the queue, uncharged."""
    with dispatching(store) as connection:
        _requeue(connection, fence.hold(connection, held), "released")


def sweep(store: Store) -> int:
    """Put trials whose lease has run out back into the queue; answers how many."""
    with dispatching(store) as connection:
        end_stalled_copies(connection)
        now, clock = lease_clock(connection)
        # a row that is locked is being reported or swept at this moment
        keys = lock_trials(connection, and_(runs, holders.run_out(connection, now, clock)), skip_locked=True)
        # its holder may live, after a pause
        holders.note_taken(connection, keys)
        _requeue(connection, keys, "expired")
        holders.forget_old(connection, now, clock)
    return len(keys)


def _requeue(connection: Connection, keys: Sequence[int], outcome: str) -> None:
    """Put trials, locked in this transaction, back into the queue."""
    if keys:
        _update(connection, keys, **_REQUEUED)
        close_attempts(connection, keys, outcome)


def _update(connection: Connection, keys: Collection[int], **values: Any) -> None:
    """Change trials that are locked in this transaction."""
    connection.execute(update(trial).where(among(connection, trial.c.id, keys)).values(**values))


_REQUEUED: dict[str, Any] = {
    "state": TrialState.QUEUED,
    "owner": None,
    "lease_until": None,
    "lease_clock": None,
    "started_at": None,
}
