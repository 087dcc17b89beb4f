"""The whole service on this machine: migrations, the API and a dispatcher, supervised until told to stop."""

import contextlib
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Final

from service.cli import preflight
from service.cli.child_process import ChildProcess
from service.cli.exits import Exit, Stop
from service.client import Client, ClientError
from service.errors import StoreUnavailable
from service.store.cluster import DispatcherRecord, list_dispatchers
from service.store.session import Store, open_store
from service.tokens import is_loopback

STOP_SECONDS = 9.0
_START_SECONDS = 180.0
_LOOK_SECONDS = 0.1


class LocalService:
    """Two processes and the socket they answer on.

    Args:
        home: folder of the database, logs and Ray's token.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
    Raises:
        Stop: with one line, where something is missing or in use.
    """

    def __init__(self, home: Path, host: str, port: int) -> None:
        preflight.require_packages()
        self.home = preflight.prepare_home(home)
        self._socket = preflight.bind(host, port)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        environment = dict(os.environ) | {"NFA_HOME": str(self.home), "NFA_HOST": host, "NFA_PORT": str(self.port)}
        self.database_url = os.environ.get("NFA_DATABASE_URL") or f"sqlite:///{self.home / 'nfa.db'}"
        descriptor = self._socket.fileno()
        logs = self.home / "logs"
        self.api = ChildProcess(
            "API",
            ["-m", "service.cli.api_process", str(descriptor)],
            environment,
            logs / "api.log",
            keep=[descriptor],
        )
        self.warning: str | None = None
        """What is wrong with where its database lies."""
        self.trainers: int | None = None
        """How many it has, once it has started."""
        self.dispatcher = ChildProcess("dispatcher", ["-m", "workers"], environment, logs / "dispatcher.log")

    @property
    def url(self) -> str:
        """Where this machine reaches it."""
        # compared, not bound
        everywhere = "0.0.0.0"  # nosec B104
        host = {everywhere: "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def is_open(self) -> bool:
        """Whether other machines reach it."""
        return not is_loopback(self.host)

    def start(self, tell: Callable[[str], None]) -> None:
        """Upgrade the database, start both processes and wait until trials can run."""
        tell("Preparing the database")
        self.warning = preflight.upgrade_store(self.database_url, self.host)
        # Ray takes longer to start than the API
        self.dispatcher.start()
        self.api.start()
        tell("Starting the API")
        with Client(self.url, retries=0, timeout_seconds=5.0, is_direct=True) as client:
            self._wait_for(lambda: _answers(client), "the API does not answer")
        tell("Starting Ray and the dispatcher")
        with open_store(self.database_url) as store:
            self._wait_for(lambda: self._dispatches(store), "the dispatcher does not start")

    def tend(self) -> list[str]:
        """Restart what has died; answer a line for each."""
        lines = []
        for process in (self.api, self.dispatcher):
            code = process.exit_code
            told = "" if code is None else how_it_ended(code, process.last_lines())
            if process.tend():
                lines.append(f"The {process.name} had ended ({told}) and was started again.")
        return lines

    def stop(self) -> None:
        """Stop both processes in order; what does not stop in time is killed."""
        deadline = time.monotonic() + STOP_SECONDS
        with _no_interrupts():
            for process in (self.dispatcher, self.api):
                process.ask_to_stop()
            for process in (self.dispatcher, self.api):
                process.stop(deadline)
            self._socket.close()

    def _wait_for(self, is_so: Callable[[], bool], failure: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not is_so():
            for process in (self.api, self.dispatcher):
                if (code := process.exit_code) is not None:
                    told = how_it_ended(code, process.last_lines())
                    raise Stop(f"the {process.name} ended at once ({told}); its log is {process.log}", Exit.START)
            if time.monotonic() > deadline:
                raise Stop(f"{failure} within {_START_SECONDS:g} s; see the logs in {self.home / 'logs'}", Exit.START)
            time.sleep(_LOOK_SECONDS)

    def _dispatches(self, store: Store) -> bool:
        with contextlib.suppress(StoreUnavailable):
            self.trainers = next((one.slots for one in list_dispatchers(store) if self._is_ours(one)), None)
        return self.trainers is not None

    def _is_ours(self, one: DispatcherRecord) -> bool:
        return one.pid == self.dispatcher.pid and one.host == socket.gethostname()


def _answers(client: Client) -> bool:
    with contextlib.suppress(ClientError):
        client.ready()
        return True
    return False


_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
"""What colours a line on a terminal, as Ray's are."""


def how_it_ended(code: int, lines: Sequence[str]) -> str:
    """How a process ended, in words: its exit code with the last line it logged, or who ended it.

    Args:
        code: its exit code; below zero the signal that killed it, in which case its last line tells nothing.
        lines: what it logged last.
    """
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    reason = _reason(lines)
    return f"exit code {code}{f': {reason}' if reason else ''}"


def _reason(lines: Sequence[str]) -> str:
    """Why a process ended, from the last line it logged; empty where that tells nothing."""
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and "error" in entry:
                return str(entry["error"])
            continue
        if plain := _STYLE.sub("", line).strip():
            return plain[:300]
    return ""


@contextlib.contextmanager
def _no_interrupts() -> Generator[None]:
    """Stopping takes seconds and is not interrupted."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def running(home: Path, host: str, port: int, tell: Callable[[str], None]) -> Generator[LocalService]:
    """The service for as long as the block runs."""
    service = LocalService(home, host, port)
    try:
        service.start(tell)
        yield service
    finally:
        service.stop()
