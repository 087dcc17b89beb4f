"""Checkpoints: the state from which a running trial goes on, committed with the rows measured up to it.

One per trial, replaced by the next and deleted when the trial ends. `trial.checkpoint_step` says up to which step rows
belong to it; -1 without one.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from service.store.keys import among
from service.store.measured_models import checkpoint
from service.store.models import trial
from service.store.session import Store


def put_checkpoints(connection: Connection, lanes: Mapping[int, int], files: Sequence[tuple[int, int, bytes]]) -> None:
    """Replace the checkpoints of these lanes (lane -> trial id) by (lane, step, file); others are dropped."""
    # of several blocks of a stack the last one's
    last = {lanes[lane]: (step, content) for lane, step, content in files if lane in lanes}
    if not last:
        return
    connection.execute(delete(checkpoint).where(among(connection, checkpoint.c.trial_id, last)))
    connection.execute(insert(checkpoint), [{"trial_id": key, "content": file} for key, (_, file) in last.items()])
    for step in {step for step, _ in last.values()}:
        there = [key for key, (at, _) in last.items() if at == step]
        connection.execute(update(trial).where(among(connection, trial.c.id, there)).values(checkpoint_step=step))


def drop_checkpoints(connection: Connection, trials: Sequence[int]) -> None:
    """Delete what trials that end would have gone on from; they are locked in this transaction."""
    if trials:
        connection.execute(delete(checkpoint).where(among(connection, checkpoint.c.trial_id, trials)))
        with_one = (among(connection, trial.c.id, trials), trial.c.checkpoint_step >= 0)
        connection.execute(update(trial).where(*with_one).values(checkpoint_step=-1))


def checkpoints_of(store: Store, trials: Sequence[int]) -> dict[int, bytes]:
    """Files by trial, of those trials that have one."""
    with store.read() as connection:
        rows = connection.execute(
            select(checkpoint.c.trial_id, checkpoint.c.content).where(among(connection, checkpoint.c.trial_id, trials))
        )
        return {row.trial_id: bytes(row.content) for row in rows}
