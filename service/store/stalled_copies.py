"""Sessions of dispatchers that stood still in the middle of a COPY: PostgreSQL's own limits do not end them.

While a backend waits for the data of COPY .. FROM STDIN, neither statement_timeout nor
idle_in_transaction_session_timeout nor transaction_timeout is looked at (seen on PostgreSQL 18): the locks of a
dispatcher that was stopped there, or whose host is away, would keep its trials from everybody for as long. A block of
measurements is copied in milliseconds, so whoever waits for one longer than a transaction may be idle is ended.
"""

from typing import Final

from sqlalchemy import Connection, text

from service.store.measured_models import MEASUREMENT_TABLES
from service.store.postgresql_engine import SETTINGS

_STALLED: Final = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() "
    "AND state = 'active' AND wait_event = 'ClientRead' AND query LIKE ANY (:copies) "
    "AND query_start < clock_timestamp() - CAST(:limit AS interval)"
)


def end_stalled_copies(connection: Connection) -> int:
    """End sessions of this store that have waited too long for the rest of a block; answers how many."""
    if connection.dialect.name != "postgresql":
        return 0
    copies = [f"COPY {table.name} (%" for table in MEASUREMENT_TABLES]
    limit = SETTINGS["idle_in_transaction_session_timeout"]
    return connection.scalar(_STALLED, {"copies": copies, "limit": limit}) or 0
