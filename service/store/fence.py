"""The fence: at-least-once execution with an exactly-once effect.

Every lease raises the trial's attempt number, and every later write names it: a dispatcher that was paused,
partitioned or presumed dead finds that its number is no longer the trial's, and nothing of it is written. Guard and
rows share one transaction. How long a lease holds is another matter, of its holder alone; see holders.py.
"""

from collections.abc import Collection

from sqlalchemy import Connection, select

from service.states import TrialState
from service.store.keys import among
from service.store.models import trial


def hold(connection: Connection, held: Collection[tuple[int, int]]) -> list[int]:
    """The fence: which of these trials still run under these attempts; nobody changes them until the transaction ends.

    Locked in key order before anything is written, so that nobody waits in a circle.
    """
    if not held:
        return []
    # found by their keys alone: beside a condition on the state a planner may walk through everything that runs
    query = (
        select(trial.c.id, trial.c.attempt, trial.c.state)
        .where(among(connection, trial.c.id, [key for key, _ in held]))
        .order_by(trial.c.id)
        .with_for_update(key_share=True)
    )
    ours = frozenset(held)
    return [
        row.id for row in connection.execute(query) if row.state == TrialState.RUNNING and (row.id, row.attempt) in ours
    ]
