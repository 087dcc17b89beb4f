"""States that trials ended with, kept for longer ones to go on from: the file of a checkpoint of their last step.

Written in the transaction that ends a trial, under its fence. Bounded together: a dispatcher deletes the oldest that
nobody waits for.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, func, insert, select

from service.store.incarnation import dispatching
from service.store.keys import among
from service.store.measured_models import kept_state
from service.store.models import trial
from service.store.session import Store


def put_states(connection: Connection, lanes: Mapping[int, int], files: Sequence[tuple[int, int, bytes]]) -> None:
    """Keep (lane, step, file) of these lanes (lane -> trial id); those of other lanes are dropped."""
    kept = [(lanes[lane], step, content) for lane, step, content in files if lane in lanes]
    if kept:
        drop_states(connection, [key for key, *_ in kept])
        rows = [{"trial_id": key, "step": step, "bytes": len(file), "content": file} for key, step, file in kept]
        connection.execute(insert(kept_state), rows)


def drop_states(connection: Connection, trials: Sequence[int]) -> None:
    """Delete the states of these trials."""
    connection.execute(delete(kept_state).where(among(connection, kept_state.c.trial_id, trials)))


def bound_states(store: Store, most_bytes: int) -> int:
    """Delete the oldest states until the rest are at most so many bytes together; answers how many were deleted.

    What a trial waits to go on from stays, however large.
    """
    total = func.coalesce(func.sum(kept_state.c.bytes), 0)
    with store.read() as connection:
        if int(connection.scalar(select(total)) or 0) <= most_bytes:
            return 0
    with dispatching(store) as connection:
        waited_for = select(trial.c.follows).where(trial.c.follows.is_not(None))
        query = (
            select(kept_state.c.trial_id, kept_state.c.bytes, kept_state.c.trial_id.in_(waited_for).label("is_needed"))
            .join(trial, trial.c.id == kept_state.c.trial_id)
            .order_by(trial.c.ended_at.desc(), kept_state.c.trial_id.desc())
        )
        rows = connection.execute(query).all()
        left = most_bytes - sum(row.bytes for row in rows if row.is_needed)
        gone = []
        for row in (row for row in rows if not row.is_needed):
            left -= row.bytes
            if left < 0:
                gone.append(row.trial_id)
        drop_states(connection, gone)
    return len(gone)
