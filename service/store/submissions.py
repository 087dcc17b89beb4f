"""Submits grids: an experiment, its settings, those of its trials that are new, and the links, or nothing of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import select

from service.grids import Expansion
from service.states import ExperimentState, TrialState, experiment_state
from service.store.experiments import assign_queue, count_states
from service.store.ids import experiment_id
from service.store.models import trial
from service.store.session import Store

_CHUNK = 5_000
_SUBMIT_LOCK = 715_225_742
T = TypeVar("T")


@dataclass(frozen=True)
class Created:
    """What a submission made: the experiment, and how many of its trials are new to the store."""

    id: str
    name: str
    state: ExperimentState
    total: int
    new: int
    reused: int
    is_replay: bool = False
    """The same Idempotency-Key and body had made it before."""


def create_experiment(
    store: Store,
    expansion: Expansion,
    *,
    owner: str = "local",
    document: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    body_digest: str = "",
) -> Created:
    """Store an experiment and queue those of its trials that nobody has run; all of it or nothing.

    Raises:
        IdempotencyMismatch: the key was used with another body.
    """
    with store.write() as connection:
        _one_at_a_time(connection)
        if idempotency_key is not None:
            before = _replayed(connection, owner, idempotency_key, body_digest)
            if before is not None:
                return before
        number = _insert_experiment(connection, expansion, owner, document)
        setting_ids = _insert_settings(connection, expansion)
        new = _insert_trials(connection, expansion, setting_ids)
        _insert_links(connection, number, expansion)
        revived = _revive_cancelled(connection, number)
        assign_queue(connection, number)
        total = len(expansion)
        created = Created(
            experiment_id(number),
            expansion.grid.name,
            experiment_state(count_states(connection, [number]).get(number, {}), paused=False),
            total,
            new + revived,
            total - new - revived,
        )
        if idempotency_key is not None:
            _remember(connection, owner, idempotency_key, body_digest, number, created)
    return created


def known_fingerprints(store: Store, expansion: Expansion) -> frozenset[str]:
    """Fingerprints of those of the grid's trials that the store has already, cancelled ones left out."""
    known: set[str] = set()
    with store.read() as connection:
        for chunk in _chunks(fingerprint for *_, fingerprint in expansion.trials()):
            query = select(trial.c.fingerprint).where(
                trial.c.fingerprint.in_(chunk), trial.c.state != TrialState.CANCELLED
            )
            known.update(connection.scalars(query))
    return frozenset(known)


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of at most _CHUNK items."""
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
