"""Inserts the settings, trials and links of a grid: what the store has stays as it is, the rest follows in its order.

PostgreSQL takes many through temporary tables; see staged.py. SQLite has one writer, so that rows go straight there.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, TextClause, select, text

from service.grid.points import Point
from service.states import TrialState
from service.store import staged
from service.store.beginnings import share_also, share_of
from service.store.datasets import named_by
from service.store.keys import among, among_words
from service.store.models import settings, trial
from service.store.session import utc_now

_CHUNK: Final = 5_000
_OPEN: Final = (TrialState.QUEUED, TrialState.RUNNING, TrialState.CANCELLED)
_AMONG: Final = "fingerprint IN (SELECT value FROM json_each(?))"
_THERE: Final = f"SELECT id FROM trial WHERE {_AMONG}"
_LINKS: Final = """
INSERT INTO experiment_trial (experiment_id, position, trial_id, wanted)
SELECT ?1, ?2 - 1 + row_number() OVER (ORDER BY asked.key), trial.id, 1
FROM json_each(?3) AS asked JOIN trial ON trial.fingerprint = asked.value
WHERE NOT EXISTS (SELECT 1 FROM experiment_trial AS own WHERE own.experiment_id = ?1 AND own.trial_id = trial.id)
ORDER BY asked.key
"""
"""Of SQLite."""


def _added(cast: str) -> TextClause:
    values = ", ".join(cast.format(f":{name}") for name in ("document", "layers"))
    columns = "digest, stack_key, document, layers"
    return text(f"INSERT INTO settings ({columns}) VALUES (:digest, :key, {values}) ON CONFLICT (digest) DO NOTHING")


_SETTINGS_ADDED: Final = {"postgresql": _added("CAST({} AS jsonb)"), "sqlite": _added("{}")}
_DIGESTS: Final = select(settings.c.digest, settings.c.id)
T = TypeVar("T")
Placed = tuple[int, Point, int, str]
"""Position, point, seed and fingerprint of a trial."""


@dataclass(frozen=True)
class Adding:
    """Trials that are to be linked by an experiment."""

    number: int
    """The experiment's key."""
    following: int
    """The position of the first one that it has not."""
    points: Sequence[Point]
    trials: Iterable[Placed]
    """In the points' order, in which they are linked."""
    priority: int
    beginnings: Mapping[str, str]
    """Keys of points' beginnings by digest; none where no trial shares one."""
    waiting: bool
    """The experiment is not paused: what is new waits for it."""
    first: int | None = None
    """The key of the first trial, where keys were set aside for all of them."""


class Inserted(Protocol):
    """What was inserted; of what was there before, questions are answered as long as the transaction lasts."""

    new: int
    asked: int
    """Trials that were to be linked."""
    datasets: set[str]
    """That the settings name."""

    def link_rest(self) -> None:
        """Link trials that were there before and that others may change: for whoever changes alone who wants what."""
        ...

    def open_before(self) -> list[int]:
        """Keys, in order, of those trials that were there before and wait, run or are cancelled."""
        ...

    def share(self) -> None:
        """Let trials that were there before, and have not begun, share the beginnings of those that are new."""
        ...

    def end(self) -> None:
        """Forget what was inserted."""
        ...


def insert_all(connection: Connection, adding: Adding) -> Inserted:
    """Insert settings and trials that are new, and link them and others that nobody changes."""
    return _Staged(connection, adding) if connection.dialect.name == "postgresql" else _Straight(connection, adding)


class _Staged:
    def __init__(self, connection: Connection, adding: Adding) -> None:
        self._connection = connection
        self.datasets = named_by(adding.points)
        self.asked = staged.stage(connection, adding.points, adding.trials, adding.beginnings, adding.first)
        self.new = staged.insert_staged(connection, adding.number, adding.priority, waiting=adding.waiting)
        staged.place_staged(connection, adding.number, adding.following)
        self._number, self._is_new = adding.number, self.new == self.asked
        if self._is_new:
            # none needs to be looked for
            staged.link_new(connection, adding.number)
        else:
            staged.link_staged(connection, adding.number, stable=True)

    def link_rest(self) -> None:
        if not self._is_new:
            staged.link_staged(self._connection, self._number, stable=False)

    def open_before(self) -> list[int]:
        return [] if self._is_new else staged.open_before(self._connection)

    def share(self) -> None:
        staged.share_staged(self._connection)

    def end(self) -> None:
        staged.drop_staged(self._connection)


class _Straight:
    def __init__(self, connection: Connection, adding: Adding) -> None:
        self._connection, self.new, self.datasets = connection, 0, named_by(adding.points)
        self._before: list[int] = []
        self._alike: list[dict[str, Any]] = []
        keys = insert_settings(connection, adding.points)
        columns = (
            *("fingerprint", "settings_id", "seed", "stack_key", "device", "state", "queued_for", "priority"),
            *("created_at", "beginning", "keeps"),
        )
        waiting = (TrialState.QUEUED, *((adding.number, adding.priority) if adding.waiting else (None, 0)))
        now = utc_now().isoformat(timespec="microseconds")
        trials = list(adding.trials)
        self.asked = len(trials)
        for chunk in chunks(trials):
            rows = []
            for _, point, seed, print_ in chunk:
                share = share_of(point, seed, adding.beginnings)
                told = (print_, keys[point.digest], seed, point.stack_key, point.device, *waiting, now)
                rows.append((*told, share["beginning"], int(share["keeps"])))
                if share["keeps"]:
                    self._alike.append({"fingerprint": print_, **share})
            prints = json.dumps([row[0] for row in rows])
            self._before += connection.exec_driver_sql(_THERE, (prints,)).scalars()
            places = ", ".join("?" * len(columns))
            statement = f"INSERT INTO trial ({', '.join(columns)}) VALUES ({places}) ON CONFLICT DO NOTHING"
            self.new += connection.exec_driver_sql(statement, rows).rowcount
        _insert_links(connection, adding, trials)

    def link_rest(self) -> None:
        """All are linked: there is no other writer."""

    def open_before(self) -> list[int]:
        is_open = trial.c.state.in_(_OPEN)
        found: list[int] = []
        for chunk in chunks(self._before):
            query = select(trial.c.id).where(among(self._connection, trial.c.id, chunk), is_open)
            found += self._connection.scalars(query)
        return sorted(found)

    def share(self) -> None:
        share_also(self._connection, self._alike)

    def end(self) -> None:
        self._alike.clear()


def insert_settings(connection: Connection, points: Iterable[Point]) -> dict[str, int]:
    """Keys of the points' settings by digest, those missing inserted."""
    found: dict[str, int] = {}
    for chunk in chunks(points):
        rows = [
            # as it is hashed, so that it need not be made and written again
            {"digest": one.digest, "key": one.stack_key, "document": one.text, "layers": _names(one)}
            for one in chunk
        ]
        connection.execute(_SETTINGS_ADDED[connection.dialect.name], rows)
        there = among_words(connection, settings.c.digest, [point.digest for point in chunk])
        found |= {digest: key for digest, key in connection.execute(_DIGESTS.where(there))}  # noqa: C416
    return found


def _names(point: Point) -> str | None:
    """Names of a network's layers as the store has them."""
    return json.dumps(list(point.layers)) if point.layers else None


def _insert_links(connection: Connection, adding: Adding, trials: Sequence[Placed]) -> None:
    """Link the trials in their order; those that an extended experiment has already keep their places."""
    following = adding.following
    for chunk in chunks(trials):
        prints = json.dumps([fingerprint for *_, fingerprint in chunk])
        following += connection.exec_driver_sql(_LINKS, (adding.number, following, prints)).rowcount


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of at most so many items as one statement takes."""
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
