"""What was measured again, as bundles tell it: the requests, and which of them measured which trial at which steps."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, insert, select, update

from service.grid.remeasurement import Asked, digest_of
from service.store.experiments import require
from service.store.ids import remeasurement_id
from service.store.keys import among
from service.store.models import experiment_trial, remeasured_trial, remeasurement
from service.store.remeasured import DONE
from service.store.session import Store

_CHUNK: Final = 5_000


class RequestMade(NamedTuple):
    """A request that measured something, as an experiment over trials that it measured sees it."""

    id: str
    own: bool
    """Whether it was made for this experiment."""
    asked: Asked
    left_out: Mapping[str, int]
    """Why -> how many trials."""
    definitions: Mapping[str, int]
    created_at: datetime


class MeasuredBy(NamedTuple):
    """That a request measured a trial."""

    request: str
    steps: tuple[int, ...]
    replaced: tuple[str, ...] = ()
    """Metrics whose numbers by an older definition gave way."""


def requests_made(store: Store, public_id: str) -> list[RequestMade]:
    """The requests that measured trials of an experiment, whoever made them, the oldest first. Raises NotFound."""
    job, request = remeasured_trial.c, remeasurement.c
    with store.read() as connection:
        number = require(connection, public_id)
        links = select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id == number)
        done = select(job.remeasurement_id).where(job.trial_id.in_(links), job.state == DONE)
        rows = connection.execute(select(remeasurement).where(request.id.in_(done)).order_by(request.id)).all()
    return [
        RequestMade(
            remeasurement_id(row.id),
            row.experiment_id == number,
            {name: value for name, value in row.asked.items() if name != "left_out"},
            {why: part["count"] for why, part in row.asked.get("left_out", {}).items()},
            row.definitions,
            row.created_at,
        )
        for row in rows
    ]


def measured_by(connection: Connection, trials: Collection[int]) -> dict[int, list[MeasuredBy]]:
    """Trial -> what measured it again, the oldest request first; trials that nothing did are left out."""
    job = remeasured_trial.c
    query = select(job.trial_id, job.remeasurement_id, job.steps, job.replaced).where(
        among(connection, job.trial_id, trials), job.state == DONE
    )
    found: dict[int, list[MeasuredBy]] = defaultdict(list)
    for row in connection.execute(query.order_by(job.remeasurement_id)):
        one = MeasuredBy(remeasurement_id(row.remeasurement_id), tuple(row.steps), tuple(row.replaced or ()))
        found[row.trial_id].append(one)
    return found


class RequestsElsewhere:
    """Requests that were made in another store; each comes into this one with the first trial that it measured."""

    def __init__(self) -> None:
        self._told: dict[str, RequestMade] = {}
        self._keys: dict[str, int] = {}

    def tell(self, requests: Iterable[RequestMade]) -> None:
        """Note what an experiment's file says of them."""
        for one in requests:
            if one.own or one.id not in self._told:
                self._told[one.id] = one

    def insert(self, connection: Connection, measured: Iterable[tuple[Mapping[str, Any], MeasuredBy]]) -> None:
        """Note that trials, which this transaction inserts, were measured again.

        Args:
            connection: the transaction.
            measured: of each the columns of its row that say which trial it is, and what measured it.
        """
        rows = [
            {
                **columns,
                "remeasurement_id": self._key(connection, one.request),
                "steps": list(one.steps),
                "state": DONE,
                "attempt": 1,
                "replaced": list(one.replaced) or None,
                "ended_at": self._told[one.request].created_at,
            }
            for columns, one in measured
        ]
        for start in range(0, len(rows), _CHUNK):
            connection.execute(insert(remeasured_trial), rows[start : start + _CHUNK])

    def belong_to(self, connection: Connection, requests: Iterable[RequestMade], number: int) -> None:
        """An experiment is in: the requests that were made for it, and came with a trial, are its own."""
        keys = [self._keys[one.id] for one in requests if one.own and one.id in self._keys]
        own = remeasurement.c.id.in_(keys)
        connection.execute(update(remeasurement).where(own).values(experiment_id=number))

    def _key(self, connection: Connection, request: str) -> int:
        if request not in self._keys:
            one = self._told[request]
            left_out = {why: {"count": count, "trials": []} for why, count in one.left_out.items()}
            made = connection.execute(
                insert(remeasurement).values(
                    experiment_id=None,
                    asked={**one.asked, "left_out": left_out},
                    digest=digest_of(one.asked, one.definitions),
                    definitions=dict(one.definitions),
                    created_at=one.created_at,
                )
            )
            assert made.inserted_primary_key is not None
            self._keys[request] = int(made.inserted_primary_key[0])
        return self._keys[request]
