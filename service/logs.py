"""How every process logs: one JSON object per line on standard error; tracebacks without the values of variables."""

import sys

import structlog


def log_as_json_lines() -> None:
    """Set the process's logging up; values of local variables, which may be secrets, never enter a traceback."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
