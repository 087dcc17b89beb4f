"""Serves the API on a socket until the process is told to stop."""

import contextlib
import ctypes
import gc
import socket
import sys

import structlog
import uvicorn
from fastapi import FastAPI

from service.logs import log_as_json_lines
from service.main import create_app
from service.notifying.worker import notifying
from service.settings import Settings
from service.store.session import open_store

log = structlog.get_logger()

_ARENA_MAX = -8
"""Of mallopt, see mallopt(3)."""


class ApiServer(uvicorn.Server):
    """Ends open event streams as it stops: it waits for every answer that has begun, and those have no end."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the streams, then wait for what is left."""
        self.config.app.state.closing.set()  # ty: ignore[missing-attribute]
        await super().shutdown(sockets)


def serve(bound: socket.socket, settings: Settings) -> None:
    """Serve until SIGTERM; requests that have begun get five seconds to end."""
    log_as_json_lines()
    _share_freed_memory()
    # one store: what notifies takes its turn with questions, of the connections of this process
    with open_store(settings.store_url, connections=settings.database_connections) as store:
        config = configured(create_app(settings, store))
        # what lives as long as the process is never garbage: not looking through it halves the time of large answers
        gc.collect()
        gc.freeze()
        host, port = bound.getsockname()[:2]
        log.info("api_started", host=host, port=port)
        with notifying(settings, store):
            ApiServer(config).run(sockets=[bound])


def configured(app: FastAPI) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=5,
        # longer than clients keep idle connections, or they would now and then write into one that is being closed
        timeout_keep_alive=75,
        server_header=False,
        # forwarding.py reads them
        proxy_headers=False,
    )


def _share_freed_memory() -> None:
    """Have threads share what they freed: keeping it apart takes 70 MiB more after five minutes of mixed questions."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)
