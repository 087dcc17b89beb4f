"""A real PgBouncer in front of the session's PostgreSQL."""

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import psycopg
import pytest
from installed import installed
from processes import free_port, wait_until
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL, make_url

_numbers = itertools.count()
_CONFIGURATION = """\
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 3
"""


class PgBouncer:
    """Starts poolers with the defaults of PgBouncer but for the mode, and databases behind them.

    Args:
        program: its path.
        postgresql: URL of the server.
        folder: for its files.
    """

    def __init__(self, program: str, postgresql: str, folder: Path) -> None:
        self._program, self._server, self._folder = program, make_url(postgresql), folder
        self._running: dict[str, tuple[subprocess.Popen[bytes], int]] = {}

    @contextlib.contextmanager
    def database(self, mode: str = "transaction") -> Generator[str]:
        """URL, through the pooler, of a fresh database that is removed at the end."""
        name = f"nfa_pooled_{next(_numbers)}"
        server = self._server.render_as_string(hide_password=False)
        port = self._port(mode)
        with psycopg.connect(server, autocommit=True) as direct:
            direct.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        try:
            yield URL.create(
                "postgresql", self._server.username, host="127.0.0.1", port=port, database=name
            ).render_as_string()
        finally:
            with psycopg.connect(server, autocommit=True) as direct:
                direct.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def _port(self, mode: str) -> int:
        """Where the pooler of this mode listens; started when it is first asked for."""
        if mode not in self._running:
            listen = free_port()
            file = self._folder / f"{mode}.ini"
            host = self._server.host or str(self._server.query["host"])
            file.write_text(
                _CONFIGURATION.format(
                    host=host, port=self._server.port or 5432, user=self._server.username, listen=listen, mode=mode
                )
            )
            # it refuses to run as root, and must reach the server's socket
            as_user = ["--user", Path(host).owner()] if os.geteuid() == 0 else []
            log = (self._folder / f"{mode}.log").open("wb")
            process = subprocess.Popen([self._program, *as_user, str(file)], stdout=log, stderr=log)
            self._running[mode] = process, listen
            wait_until(lambda: process.poll() is not None or b"listening on" in Path(log.name).read_bytes(), 20)
            assert process.poll() is None, Path(log.name).read_text()
        return self._running[mode][1]

    def stop(self) -> None:
        """Stop every pooler."""
        for process, _ in self._running.values():
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="session")
def pgbouncer(postgresql: str) -> Iterator[PgBouncer]:
    """The session's poolers."""
    program = installed("pgbouncer", package="pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="nfa-pgbouncer-", dir="/tmp"))
    folder.chmod(0o755)
    made = PgBouncer(program, postgresql, folder)
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)
