"""Weights kept at the steps under `measure.weights`: written with the measurements, read one file at a time."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert, select

from service.errors import NotFound, WeightsNotKept
from service.store.ids import trial_number
from service.store.measured_models import kept_weights
from service.store.models import trial
from service.store.session import Store


def insert_weights(connection: Connection, lanes: Mapping[int, int], files: Sequence[tuple[int, int, bytes]]) -> None:
    """Insert (lane, step, file) of these lanes (lane -> trial id); those of other lanes are dropped."""
    rows = [
        {"trial_id": lanes[lane], "step": step, "content": content} for lane, step, content in files if lane in lanes
    ]
    if rows:
        connection.execute(insert(kept_weights), rows)


def weights_at(store: Store, public_id: str, step: int | None) -> tuple[int, bytes]:
    """The step and the .safetensors file of a trial's weights.

    Args:
        store: where they are.
        public_id: of the trial.
        step: which; None for the last kept one.
    Raises:
        NotFound: no such trial.
        WeightsNotKept: none of this step; lists those kept.
    """
    key = trial_number(public_id)
    rows = kept_weights.c
    with store.read() as connection:
        if connection.scalar(select(trial.c.id).where(trial.c.id == key)) is None:
            raise NotFound(f"no trial {public_id}: GET /experiments/ID/trials lists an experiment's")
        kept = list(connection.scalars(select(rows.step).where(rows.trial_id == key).order_by(rows.step)))
        if not kept or (step is not None and step not in kept):
            raise WeightsNotKept(_refusal(public_id, step, kept))
        wanted = kept[-1] if step is None else step
        content = connection.scalar(select(rows.content).where(rows.trial_id == key, rows.step == wanted))
    return wanted, bytes(content or b"")


def _refusal(public_id: str, step: int | None, kept: Sequence[int]) -> str:
    asked = "" if step is None else f" of step {step}"
    if not kept:
        return f"trial {public_id} has kept no weights so far{asked}: list the steps to keep under measure.weights"
    return f"trial {public_id} keeps no weights{asked}; it keeps those of steps {', '.join(map(str, kept))}"
