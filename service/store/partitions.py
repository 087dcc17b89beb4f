"""Ranges of trials whose measured rows lie in tables of their own, on PostgreSQL; see docs/decisions/0033.

`measurement` and `layer_measurement` are partitioned there by ranges of trials, which `measured_range` lists. Whatever
large experiment is submitted has a range that nobody else's new trials come into, so that its rows go with their
table; all others share ranges, made when their first trials are leased. SQLite has one table of each.
"""

import contextlib
import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, insert, select, text

from service.errors import StoreUnavailable
from service.store.measured_models import layer_measurement, measurement
from service.store.models import measured_range
from service.store.session import Store, utc_now

PARTITIONED: Final = (measurement, layer_measurement)
SHARED: Final = 1 << 16
"""Trials of a range that experiments share, where there are few ranges."""
_LARGE: Final = 1_000_000
"""Planned rows of an experiment with a range of its own, where there are few ranges."""
_FEW: Final = 12
"""Ranges; every question about measurements is planned for all of them."""
_WAIT: Final = "200ms"
"""Others who submit wait for no longer, while ids are set aside."""
_OWN_TABLE: Final = re.compile(rf"({'|'.join(table.name for table in PARTITIONED)})_[0-9]+")
_VACUUMED: Final = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 100000, "
    "autovacuum_analyze_scale_factor = 0.02"
)
"""As migration 0014 has it for the tables before."""


class Range(NamedTuple):
    """Trials by their keys."""

    first: int
    below: int
    """The first key after them."""

    def holds(self, key: int) -> bool:
        """Whether a trial is one of them."""
        return self.first <= key < self.below

    def name(self, table: str) -> str:
        """The table that has their rows of this table."""
        return f"{table}_{self.first}"


def has_own_range(rows: int, ranges: int) -> bool:
    """Whether an experiment of so many planned rows is worth a range beside so many others: there are never many."""
    return rows >= _LARGE << max(0, ranges - _FEW)


def missing_ranges(there: Sequence[Range], keys: Collection[int]) -> list[Range]:
    """The ranges that trials want beside those that are there: what lies between two, or a shared one after all.

    The more ranges there are the larger it is, so that there are few of any number of trials.
    """
    if not keys or any(one.holds(min(keys)) and one.holds(max(keys)) for one in there):
        return []
    made: list[Range] = []
    for key in sorted(keys):
        known = (*there, *made)
        if not any(one.holds(key) for one in known):
            first = max((one.below for one in known if one.below <= key), default=0)
            size = SHARED << max(0, len(known) - _FEW)
            after = first + size * (1 + (key - first) // size)
            made.append(Range(first, min([after, *(one.first for one in there if one.first > key)])))
    return made


def cover(connection: Connection, keys: Collection[int]) -> None:
    """See that rows of these trials have a place: for whoever is about to lease them, or to write for them."""
    if connection.dialect.name == "postgresql" and missing_ranges(ranges_of(connection), keys):
        _one_at_a_time(connection)
        for one in missing_ranges(ranges_of(connection), keys):
            _make(connection, one)


def set_aside(store: Store, trials: int, rows: int) -> Range | None:
    """Keys of trials that nobody else's will have, with tables of their own; none unless so many rows are worth it.

    Nobody waits for it: where somebody else is adding trials at this moment, for longer than a moment, there is none.

    Args:
        store: where they are to be submitted.
        trials: that may be submitted.
        rows: of measurements that are planned for them.
    """
    if store.dialect != "postgresql" or not has_own_range(rows, 0):
        return None
    with contextlib.suppress(StoreUnavailable), store.write() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT}'"))
        _one_at_a_time(connection)
        there = ranges_of(connection)
        if has_own_range(rows, len(there)):
            sequence = connection.scalar(text("SELECT pg_get_serial_sequence('trial', 'id')"))
            # nobody takes a key of it until the end of the transaction
            connection.execute(text(f"ALTER SEQUENCE {sequence} INCREMENT BY 1"))
            first = max(next_key(connection), *(one.below for one in there))
            own = Range(first, first + trials)
            connection.execute(text(f"ALTER SEQUENCE {sequence} RESTART WITH {own.below}"))
            _make(connection, own)
            return own
    return None


def is_modelled(name: str | None, kind: str, _parents: object) -> bool:
    """Whether a name is to be compared with the models; for Alembic's `include_name`. Tables of ranges are not."""
    return kind != "table" or name is None or _OWN_TABLE.fullmatch(name) is None


def ranges_of(connection: Connection) -> list[Range]:
    """All of them, in order."""
    rows = connection.execute(select(measured_range.c.first, measured_range.c.below).order_by(measured_range.c.first))
    return [Range(row.first, row.below) for row in rows]


def next_key(connection: Connection) -> int:
    """The key of the next trial that is submitted, unless it is set aside for others."""
    sequence = connection.scalar(text("SELECT pg_get_serial_sequence('trial', 'id')"))
    return int(connection.scalar(text(f"SELECT last_value + is_called::int FROM {sequence}")) or 0)


def _one_at_a_time(connection: Connection) -> None:
    """Let those who make ranges wait for each other."""
    connection.execute(text("LOCK TABLE measured_range IN SHARE ROW EXCLUSIVE MODE"))


def _make(connection: Connection, one: Range) -> None:
    """Make the tables of a range. Made by themselves and attached, they keep nobody from the others."""
    for table in PARTITIONED:
        own = one.name(table.name)
        # the whole has no key: pg_restore --clean stumbles over keys that partitions have of it
        key = f"CONSTRAINT pk_{own} PRIMARY KEY ({', '.join(table.primary_key.columns.keys())})"
        connection.execute(text(f"CREATE TABLE {own} (LIKE {table.name} INCLUDING ALL, {key}) WITH ({_VACUUMED})"))
        bounds = f"FOR VALUES FROM ({one.first}) TO ({one.below})"
        connection.execute(text(f"ALTER TABLE {table.name} ATTACH PARTITION {own} {bounds}"))
    row = {"first": one.first, "below": one.below, "leaving": False, "created_at": utc_now()}
    connection.execute(insert(measured_range).values(row))
