"""What PostgreSQL's planner knows of measurements in several tables: it counts each by itself, and never the whole.

Without that it takes whatever was measured for the rows of a few hundred trials.
"""

import contextlib
from typing import Final

from sqlalchemy import text

from service.errors import StoreUnavailable
from service.store.session import Store

_FEW: Final = 10_000
"""Rows that make no difference."""
_CHANGED: Final = text(
    "SELECT whole.relname FROM pg_class whole JOIN pg_inherits ON inhparent = whole.oid "
    "JOIN pg_class part ON part.oid = inhrelid "
    "WHERE whole.oid IN ('measurement'::regclass, 'layer_measurement'::regclass) GROUP BY whole.oid, whole.relname "
    "HAVING abs(sum(greatest(part.reltuples, 0)) - greatest(whole.reltuples, 0)) "
    "> :more + greatest(whole.reltuples, 0) / 4 ORDER BY whole.relname"
)


def count_wholes(store: Store) -> None:
    """Count what grew or shrank by a quarter since it was counted; nobody waits for that for longer than a moment."""
    if store.dialect != "postgresql":
        return
    with store.read() as connection:
        names = list(connection.scalars(_CHANGED, {"more": _FEW}))
    for name in names:
        with contextlib.suppress(StoreUnavailable), store.write() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '10min'"))
            # since version 18 without counting the parts again
            only = "ONLY " if (connection.dialect.server_version_info or (0,)) >= (18,) else ""
            connection.execute(text(f"ANALYZE {only}{name}"))
