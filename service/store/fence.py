"""The fence: at-least-once execution with an exactly-once effect.

Every lease raises the trial's attempt number, and every later write names it: a dispatcher that was paused,
partitioned or presumed dead finds that its number is no longer the trial's, and nothing of it is written. Guard and
rows share one transaction.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select, update

from service.store.keys import among
from service.store.models import runs, trial


def hold(connection: Connection, held: Collection[tuple[int, int]]) -> list[int]:
    """The fence: which of these trials still run under these attempts; nobody changes them until the transaction ends.

    Locked in key order before anything is written, so that nobody waits in a circle.
    """
    if not held:
        return []
    query = (
        select(trial.c.id, trial.c.attempt)
        .where(among(connection, trial.c.id, [key for key, _ in held]), runs)
        .order_by(trial.c.id)
        .with_for_update(key_share=True)
    )
    ours = frozenset(held)
    return [row.id for row in connection.execute(query) if (row.id, row.attempt) in ours]


def prolong(connection: Connection, held: Sequence[tuple[int, int]], until: float, clock: str) -> frozenset[int]:
    """Prolong those leases that still hold; their trials."""
    kept = hold(connection, held)
    if kept:
        still_held = among(connection, trial.c.id, kept)
        connection.execute(update(trial).where(still_held).values(lease_until=until, lease_clock=clock))
    return frozenset(kept)
