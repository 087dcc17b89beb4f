"""What a bundle says of each trial, a page at a time; and the files that trials keep beside their rows."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import select

from service.errors import NotFound
from service.states import TrialState
from service.store.datasets import DatasetRecord, get_dataset
from service.store.experiments import require
from service.store.ids import trial_id
from service.store.keys import among
from service.store.measured_models import kept_weights
from service.store.members import keys_of
from service.store.models import attempt, dataset
from service.store.remeasured_records import MeasuredBy, measured_by
from service.store.session import Store
from service.store.trial_rows import TrialRow, trials_of

_PAGE: Final = 1_000
_ABOUT_PEOPLE: Final = ("host", "node", "dispatcher")
"""Of a trial's provenance, what names machines of whoever ran it."""


class KeptFile(NamedTuple):
    """Weights that a trial has kept at a step."""

    trial: str
    step: int


def trial_records(store: Store, public_id: str) -> Iterator[list[dict[str, Any]]]:
    """Every trial of an experiment, by position, as plain values; without names of machines. Raises NotFound."""
    after = -1
    while True:
        with store.read() as connection:
            rows = trials_of(connection, require(connection, public_id), after=after, limit=_PAGE)
            table = attempt.c
            columns = (table.trial_id, table.number, table.started_at, table.ended_at, table.outcome, table.error)
            query = select(*columns).where(among(connection, table.trial_id, [row.id for row in rows]))
            attempts: dict[int, list[Any]] = {row.id: [] for row in rows}
            for found in connection.execute(query.order_by(table.trial_id, table.number)).mappings():
                attempts[found["trial_id"]].append({name: found[name] for name in found if name != "trial_id"})
            again = measured_by(connection, [row.id for row in rows])
        if not rows:
            return
        after = rows[-1].position
        yield [_record(row, attempts[row.id], again.get(row.id, ())) for row in rows]


def _record(row: TrialRow, attempts: Sequence[Mapping[str, Any]], again: Sequence[MeasuredBy]) -> dict[str, Any]:
    shown = ("position", "fingerprint", "seed", "state", "attempt", "failures", "error", "last_step", "kept_every")
    known = row.provenance
    return {
        "trial_id": trial_id(row.id),
        **{name: getattr(row, name) for name in shown},
        "provenance": known and {name: value for name, value in known.items() if name not in _ABOUT_PEOPLE},
        "created_at": row.created_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "attempts": list(attempts),
        "settings": row.settings,
        **({"measured_again": [one._asdict() for one in again]} if again else {}),
    }


def has_ended(record: Mapping[str, Any]) -> bool:
    """Whether a trial has final values."""
    return record["state"] in (TrialState.COMPLETED, TrialState.DIVERGED)


def kept_files(store: Store, experiments: Collection[str]) -> list[KeptFile]:
    """The weights that trials of these experiments keep, each file once."""
    rows = kept_weights.c
    with store.read() as connection:
        numbers = [require(connection, one) for one in experiments]
        query = select(rows.trial_id, rows.step).where(rows.trial_id.in_(keys_of(numbers)))
        found = connection.execute(query.order_by(rows.trial_id, rows.step)).all()
    return [KeptFile(trial_id(key), step) for key, step in found]


def dataset_file(store: Store, sha256: str) -> tuple[DatasetRecord, bytes]:
    """What is known of an uploaded dataset, and its arrays as .npz. Raises NotFound."""
    record = get_dataset(store, sha256)
    with store.read() as connection:
        content = connection.scalar(select(dataset.c.content).where(dataset.c.sha256 == sha256))
    if content is None:
        raise NotFound(f"no dataset {sha256[:80]!r}: GET /datasets lists them")
    return record, bytes(content)
