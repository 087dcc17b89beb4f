"""Looks for what would stop the service from starting here: one clear line for each thing, before anything starts."""

import errno
import importlib.util
import os
import socket
from pathlib import Path

from service.cli.exits import Exit, Stop
from service.errors import ServiceError
from service.store import cluster, schema
from service.store.session import open_store
from service.store.tokens import has_tokens
from service.tokens import refuse_open_address

NEEDED = ("torch", "ray")


def prepare_home(home: Path) -> Path:
    """Make the home and its folder of logs, for this user alone; answer its absolute path."""
    home = home.expanduser().absolute()
    try:
        # the mode holds for the last folder of a path alone
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "logs").mkdir(mode=0o700, exist_ok=True)
        probe = home / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Stop(
            f"cannot write to {home} ({error.strerror}): choose a folder you may write with --home or NFA_HOME",
            Exit.START,
        ) from error
    return home


def require_packages() -> None:
    """Refuse to start without what trains."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Stop(
            f"{' and '.join(missing)} cannot be imported by this Python: install the service's dependencies "
            "(`make install`), then run `nfa doctor`",
            Exit.START,
        )


def bind(host: str, port: int) -> socket.socket:
    """A socket that has the port, for the API to listen on; port 0 takes a free one."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Stop(f"--host {host} is not an address of this machine ({error.strerror})", Exit.START) from error
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise Stop(_bind_problem(host, port, error), Exit.START) from error
    return bound


def _bind_problem(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what uses it, or choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs rights this user lacks: choose one from 1024 up with --port"
    return f"cannot listen on {host} port {port}: {error.strerror}"


def upgrade_store(url: str, host: str) -> str | None:
    """Bring the database to this version's schema, see that it lets nobody in by accident; answer what to warn of."""
    try:
        with open_store(url) as store:
            schema.upgrade(store)
            cluster.refuse_two_machines(store)
            refuse_open_address(host, has_tokens(store))
            return store.warning
    except ServiceError as error:
        raise Stop(error.detail, Exit.START) from error
