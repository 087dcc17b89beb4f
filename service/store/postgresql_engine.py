"""Connections to PostgreSQL, directly or through a pooler that lends a session to one transaction at a time.

Such a pooler (PgBouncer with pool_mode=transaction, as many hosts put in front) refuses or forgets what is set for a
session. So nothing is: the limits ride with the statement that begins each transaction, which costs no journey more,
locks end with their transaction, and statements are prepared only where the session is ours.
"""

from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, text

from service.errors import StoreUnusable
from service.store.sharing_connections import WAIT_SECONDS

SETTINGS: Final[dict[str, str]] = {
    "statement_timeout": "30s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "15s",
    "timezone": "UTC",
}
"""What holds in every transaction, as PostgreSQL says it when asked."""
WRITING: Final = "BEGIN"
READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""Several statements of one reader see one snapshot, as they do on SQLite."""
BEGIN: Final = "nfa_begin"
"""Execution option: how transactions of an engine begin; absent: they do not, and statements stand alone."""
_POOLED: Final = "nfa_is_pooled"
_STATEMENT_POOLING: Final = "transaction blocks not allowed"


def postgresql_engine(url: Any, connections: int) -> Engine:
    """An engine of at most so many connections, whose transactions begin as its execution option `BEGIN` says."""
    engine = create_engine(
        url,
        # all are kept once they are open: what overflows is opened and closed for every question
        pool_size=connections,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "application_name": "nfa"},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        # SQLAlchemy, not the driver, begins transactions: it can send the limits with them
        connection.autocommit = True
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        # a pooler hands out numbers of its own for cancelling
        record.info[_POOLED] = pid != connection.info.backend_pid
        if record.info[_POOLED]:
            # the next transaction may meet another backend, which does not know what this one has prepared
            connection.prepare_threshold = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        how = connection.get_execution_options().get(BEGIN)
        if how:
            limits = [f"SET LOCAL {name} = '{value}'" for name, value in SETTINGS.items()]
            connection.exec_driver_sql("; ".join([how, *limits]))

    @event.listens_for(engine, "handle_error")
    def _explain(context: Any) -> None:
        if _STATEMENT_POOLING in str(context.original_exception):
            raise StoreUnusable(
                "the pooler in front of PostgreSQL lends connections for one statement only (pool_mode=statement), and "
                "the service needs transactions: set pool_mode=transaction, or give NFA_DATABASE_URL past the pooler"
            ) from context.original_exception

    return engine


def is_pooled(connection: Connection) -> bool:
    """Whether something between us and PostgreSQL may lend our backend to others."""
    return bool(connection.connection.info.get(_POOLED))


def sees_one_state(connection: Connection) -> bool:
    """Whether all statements of the present transaction see one snapshot."""
    return connection.get_execution_options().get(BEGIN) == READING


def missing_settings(connection: Connection) -> dict[str, str]:
    """Settings that do not hold in the present transaction, with what holds instead; empty when all is well."""
    found = {name: str(connection.scalar(text(f"SHOW {name}"))) for name in SETTINGS}
    return {name: value for name, value in found.items() if value != SETTINGS[name]}
