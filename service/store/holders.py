"""How long leases hold: one row per dispatcher, whatever it runs, so that renewing touches no trial.

What is taken from a living holder (cancelled, paused, swept while it was presumed dead) is noted for it, and it learns
of it when it renews. This says only when others may take a trial; what its holder may write is the fence's to say.

A trial may have a time of its own: leases by older versions do, and restoring a backup lets all run out that way.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ColumnElement

from service.store.keys import among
from service.store.models import attempt, holder, runs, taken_trial, trial

_FORGOTTEN_SECONDS: Final = 3600.0
"""After which nothing is kept of a holder whose lease ran out; it is told that it is not known, if it lives."""

Pair = tuple[int, int]
"""(trial id, attempt)."""


def extend(connection: Connection, owner: str, seconds: float, now: float, clock: str) -> bool:
    """Let a holder's leases hold for so long from now; whether it was known."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    times = {"until": now + seconds, "clock": clock}
    known = connection.execute(update(holder).where(holder.c.owner == owner).values(**times)).rowcount > 0
    if not known:
        # two threads of one dispatcher may both be its first
        new: Any = dialect.insert(holder).values(owner=owner, **times)
        connection.execute(new.on_conflict_do_update(index_elements=["owner"], set_=times))
    return known


def extend_if_late(connection: Connection, owner: str, seconds: float, now: float, clock: str) -> None:
    """The same where less than half of that is left: whoever leases and reports often rewrites no row each time."""
    query = select(holder.c.until).where(holder.c.owner == owner, holder.c.clock == clock)
    until = connection.scalar(query)
    if until is None or until < now + seconds / 2:
        extend(connection, owner, seconds, now, clock)


def owners_of(connection: Connection, trials: Collection[int]) -> list[str]:
    """Who holds these trials."""
    query = select(trial.c.owner).where(among(connection, trial.c.id, trials)).distinct()
    return [owner for owner in connection.scalars(query) if owner is not None]


def note_taken(connection: Connection, trials: Sequence[int]) -> None:
    """Tell the holders of these trials that they are taken from them; before their attempts are closed."""
    if trials:
        columns = [attempt.c.dispatcher, attempt.c.trial_id, attempt.c.number]
        open_ones = select(*columns).where(among(connection, attempt.c.trial_id, trials), attempt.c.ended_at.is_(None))
        connection.execute(insert(taken_trial).from_select(["owner", "trial_id", "attempt"], open_ones))


def told(connection: Connection, owner: str) -> frozenset[Pair]:
    """What was taken from a holder since it was last told."""
    table = taken_trial.c
    query = delete(taken_trial).where(table.owner == owner).returning(table.trial_id, table.attempt)
    return frozenset((row.trial_id, row.attempt) for row in connection.execute(query))


def run_out(connection: Connection, now: float, clock: str) -> ColumnElement[bool]:
    """Which trials' leases have run out, found through their holders; these cannot renew until the transaction ends.

    Reads an index entry per holder, and the trials whose leases have run out.
    """
    lives = and_(holder.c.until >= now, holder.c.clock == clock)
    living = set(connection.scalars(select(holder.c.owner).where(lives)))
    known = set(connection.scalars(select(holder.c.owner)))
    late = select(holder.c.owner).where(~lives).order_by(holder.c.owner).with_for_update(skip_locked=True)
    # one that is locked renews at this moment
    dead = set(connection.scalars(late)) | (_holding(connection) - known)
    is_over = or_(trial.c.lease_until.is_(None), trial.c.lease_until < now, trial.c.lease_clock != clock)
    own = [
        and_(trial.c.lease_clock < clock),
        and_(trial.c.lease_clock > clock),
        and_(trial.c.lease_clock == clock, trial.c.lease_until < now),
    ]
    found = list(connection.scalars(select(trial.c.id).where(runs, trial.c.owner.in_(dead), is_over)))
    for condition in own:
        found += connection.scalars(select(trial.c.id).where(runs, trial.c.owner.in_(living), condition))
    # looked at again once they are locked
    still = or_(trial.c.owner.in_(dead), trial.c.lease_until < now, trial.c.lease_clock != clock)
    return and_(among(connection, trial.c.id, found), still)


def _holding(connection: Connection) -> set[str]:
    """Everybody under whose name trials run; one step through the index for each, however many trials."""
    first = select(func.min(trial.c.owner).label("owner")).where(runs).cte("holding", recursive=True)
    following = select(func.min(trial.c.owner)).where(runs, trial.c.owner > first.c.owner).scalar_subquery()
    each = first.union_all(select(following).where(first.c.owner.is_not(None)))
    return {owner for owner in connection.scalars(select(each.c.owner)) if owner is not None}


def forget_old(connection: Connection, now: float, clock: str) -> None:
    """Forget holders that nobody has heard of for long, and what was noted for those who are not known."""
    old = or_(holder.c.until < now - _FORGOTTEN_SECONDS, holder.c.clock != clock)
    connection.execute(delete(holder).where(old))
    connection.execute(delete(taken_trial).where(taken_trial.c.owner.not_in(select(holder.c.owner))))


def held_by(connection: Connection, owner: str) -> Iterable[Pair]:
    """What runs under a name."""
    query = select(trial.c.id, trial.c.attempt).where(runs, trial.c.owner == owner)
    return ((row.id, row.attempt) for row in connection.execute(query))
