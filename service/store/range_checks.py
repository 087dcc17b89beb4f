"""What `nfa doctor` asks about the ranges of trials that measured rows lie by; see partitions.py."""

import re
from typing import Final

from sqlalchemy import Connection, select, text

from service.store.ids import trial_id
from service.store.leaving import astray
from service.store.models import measured_range, runs, trial
from service.store.partitions import PARTITIONED, Range, missing_ranges, ranges_of

_BOUNDS: Final = re.compile(r"FOR VALUES FROM \('([0-9]+)'\) TO \('([0-9]+)'\)")
_TABLES: Final = text(
    "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class "
    "WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = CAST(:table AS regclass)) ORDER BY relname"
)


def problems(connection: Connection) -> list[str]:
    """What is wrong with the ranges, in words; none on SQLite, which has no ranges."""
    if connection.dialect.name != "postgresql":
        return []
    there = ranges_of(connection)
    return _tables_that_differ(connection, there) + _without_place(connection, there) + _without_trial(connection)


def _tables_that_differ(connection: Connection, there: list[Range]) -> list[str]:
    found = []
    for table in PARTITIONED:
        kept = {one.name(table.name): one for one in there}
        for name, bounds in connection.execute(_TABLES, {"table": table.name}):
            told = _BOUNDS.fullmatch(bounds)
            if told is None or kept.pop(name, None) != Range(int(told[1]), int(told[2])):
                found.append(f"table {name} is not of a range that is known")
        found += [f"the range from {trial_id(one.first)} has no table {name}" for name, one in kept.items()]
    return found


def _without_place(connection: Connection, there: list[Range]) -> list[str]:
    keys = list(connection.scalars(select(trial.c.id).where(runs)))
    missing = missing_ranges(there, keys)
    lost = [next(key for key in keys if one.holds(key)) for one in missing]
    return [f"{trial_id(key)} runs, and what it measures has no place" for key in lost]


def _without_trial(connection: Connection) -> list[str]:
    """Rows whose trial is gone, where none are waiting to go with their table."""
    rows = connection.execute(
        select(measured_range).where(~measured_range.c.leaving).order_by(measured_range.c.first)
    ).all()
    lost = [key for row in rows for key in astray(connection, Range(row.first, row.below), 1)]
    return [f"{trial_id(key)} is gone, and rows that it measured are not" for key in lost]
