"""Leases on trials: taken for a dispatcher as stacks, renewed, restarted, handed back, and swept when they run out.

Every lease raises the trial's attempt number, and every later write names it; see fence.py. How long it holds is noted
once for each dispatcher; see holders.py. docs/trial_states.md draws the states.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, select, update

from service.states import TrialState
from service.store import fence, held_back, holders
from service.store.attempts import Place, close_attempts, open_attempts
from service.store.beginnings import go_on
from service.store.checkpoints import drop_checkpoints
from service.store.incarnation import dispatching
from service.store.keys import among
from service.store.models import runs, settings, trial
from service.store.next_stack import COUNTED, Lookup, Waiting, next_stack
from service.store.partitions import cover
from service.store.session import Store, lease_clock, utc_now
from service.store.stalled_copies import end_stalled_copies
from service.store.wanting import lock_trials

DEVICES = ("auto", "cpu", "gpu")
"""What trials may ask for."""
NOWHERE = Place()


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


def lease_stack(store: Store, owner: str, **how: Any) -> list[Leased]:
    """Lease trials of one shape, the stack whose turn it is; arguments as of `lease_stacks`.

    Returns:
        The leased trials in queue order; empty when nothing waits.
    """
    return next(iter(lease_stacks(store, owner, **how)), [])


def lease_stacks(
    store: Store,
    owner: str,
    *,
    lease_seconds: float,
    choose: Callable[[dict[str, Any], Waiting], int],
    enough: Callable[[dict[str, Any]], int] = lambda _settings: COUNTED,
    more: Callable[[Sequence[Leased]], bool] = lambda _stack: False,
    devices: Sequence[str] = DEVICES,
    place: Place = NOWHERE,
    but: Collection[str] = (),
) -> list[list[Leased]]:
    """Lease stacks for one trainer: each the head of the queue and others with its stack key, one after the other.

    Trials of a stack that crashed are leased only together with such trials, in stacks of half its size, and beside no
    other stack: what is known of a trial that kills its trainers outlives the dispatcher that learnt it.

    Args:
        store: where the queue is.
        owner: the dispatcher's identity.
        lease_seconds: how long the lease holds unless renewed.
        choose: from the head's settings and what waits to how many with its stack key to lease; 0: leave them all.
        enough: from the head's settings to how many waiting trials are counted: more make no difference to `choose`.
        more: from the stack leased last to whether another one is wanted beside it.
        devices: what the trainer may be given, of auto, cpu and gpu.
        place: where it runs.
        but: a few stack keys that are passed over.
    Returns:
        The leased trials of each stack in queue order; empty when nothing waits.
    """
    lookup = Lookup(tuple(devices), but, choose, enough)
    with dispatching(store) as connection:
        go_on(connection)
        held_back.begin_leasing(connection)
        held, stacks = held_back.held_back(connection), list[list[Leased]]()
        now, clock = lease_clock(connection)
        while found := next_stack(connection, lookup, held, beside=bool(stacks)):
            held_back.let_go(connection, held.stopping, among(connection, trial.c.id, found.keys))
            stacks.append(_lease(connection, found.keys, owner, clock))
            if found.stack_limit or not more(stacks[-1]):
                break
        if stacks:
            holders.extend_if_late(connection, owner, lease_seconds, now, clock)
            keys = [one.trial_id for stack in stacks for one in stack]
            cover(connection, keys)
            open_attempts(connection, keys, owner, place)
    return stacks


def _lease(connection: Connection, keys: Sequence[int], owner: str, clock: str) -> list[Leased]:
    """Let trials, which are locked, run under a new attempt."""
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
    # each document is read once, however many seeds share it
    shared = {row.settings_id for row in rows}
    query = select(settings.c.id, settings.c.document).where(among(connection, settings.c.id, list(shared)))
    documents = {row.id: row.document for row in connection.execute(query)}
    order = {key: index for index, key in enumerate(keys)}
    stack = (Leased(*row)._replace(settings=documents[row.settings_id]) for row in rows)
    return sorted(stack, key=lambda one: order[one.trial_id])


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
