"""`nfa doctor`: what is here, what is missing, and what to do about it."""

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from service.allowance import allowance
from service.cli.display import out, print_json
from service.cli.exits import Exit
from service.cli.options import DEFAULT_URL, AsJson, Home, Token, Url
from service.cli.plain_tables import PlainTable
from service.cli.versions import package_version
from service.client import Client, ClientError, Unreachable
from service.errors import ServiceError
from service.otlp import read_headers
from service.questions.number_format import counted
from service.settings import Settings
from service.store import cluster, range_checks, schema, tallies
from service.store.ids import experiment_id
from service.store.postgresql_engine import SETTINGS, missing_settings
from service.store.session import Store, open_store
from service.tracing.receiver import Outcome, Receiver

_FREE_BYTES = 2 * 2**30
_TRIED = {"torch": ((2, 11), (2, 14)), "ray": ((2, 60), (2, 61))}


@dataclass(frozen=True)
class Finding:
    """What one check found; `ok` is None where there is nothing to judge."""

    subject: str
    ok: bool | None
    words: str


def doctor(
    home: Home = Path(".nfa"),
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
    repair: Annotated[bool, typer.Option("--repair", help="Mend counts of trials that are wrong.")] = False,
) -> None:
    """Check what the service needs on this machine. Exits 1 if something is missing."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _trainers,
        _packages,
        _torch,
        _compiled,
        lambda: _home(home),
        lambda: _database(home, repair=repair),
        _space,
        _ray_address,
        _traces,
        lambda: _service(url, token),
    ]
    found = [finding for check in checks for finding in check()]
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        marks = {True: Text("ok", "green"), False: Text("problem", "bold red"), None: Text("-", "dim")}
        rows = [(marks[one.ok], one.subject, one.words) for one in found]
        out.print(PlainTable({"": "left", "what": "left", "found": "left"}, rows))
    raise typer.Exit(Exit.NO if any(one.ok is False for one in found) else Exit.OK)


def _python() -> Iterator[Finding]:
    fits = sys.version_info >= (3, 11)
    words = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("Python", fits, words if fits else f"{words}; 3.11 or newer is needed")


def _trainers() -> Iterator[Finding]:
    allowed = allowance()
    yield Finding("trainers", True, f"{allowed.trainers} on a local Ray: {allowed.why}; NFA_TRAINERS says otherwise")


def _packages() -> Iterator[Finding]:
    for name, (least, below) in _TRIED.items():
        version = package_version(name)
        if version is None:
            yield Finding(name, False, "not installed: run `make install`")
            continue
        minor = tuple(int(part) for part in version.split("+")[0].split(".")[:2])
        wanted = f"{least[0]}.{least[1]} to below {below[0]}.{below[1]}"
        yield Finding(
            name, least <= minor < below, version if least <= minor < below else f"{version}; tried: {wanted}"
        )


def _torch() -> Iterator[Finding]:
    """Import torch in a process of its own, because a broken build may end the process."""
    code = "import torch; print(torch.cuda.device_count(), torch.get_num_threads())"
    try:
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        yield Finding("devices", False, "importing torch takes more than two minutes")
        return
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
        yield Finding("devices", False, f"torch cannot be imported: {last[:200]}")
    else:
        gpus = int(ran.stdout.split()[0])
        yield Finding("devices", True, f"{gpus} GPUs" if gpus else "CPU only")


def _compiled() -> Iterator[Finding]:
    """Compile training steps in a process of its own, or say why it does without."""
    code = "from nfa_kernels.native import compiling; print(compiling.state())"
    try:
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
        words = (ran.stderr if ran.returncode else ran.stdout).strip().splitlines()[-1][:200]
        is_compiled = ran.returncode == 0
    except (subprocess.TimeoutExpired, IndexError):
        words, is_compiled = "compiling takes more than two minutes, or says nothing", False
    # everything works without
    slower = "small networks train slower, linear ones several times"
    yield Finding("compiled steps", is_compiled or None, words if is_compiled else f"none, {slower}: {words}")


def _home(home: Path) -> Iterator[Finding]:
    place = home.expanduser().absolute()
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    if writable:
        yield Finding("home", True, f"{place}" if there == place else f"{place} (will be made)")
    else:
        yield Finding("home", False, f"{there} is not a folder you may write: choose another with --home or NFA_HOME")


def _database(home: Path, *, repair: bool = False) -> Iterator[Finding]:
    settings = Settings(home=home.expanduser())
    with Store(settings.store_url) as found:  # nothing is opened yet
        if found.warning:
            yield Finding("file system", False, found.warning)
    if settings.database_url is None and not (home.expanduser() / "nfa.db").exists():
        yield Finding("database", None, "none yet: `nfa up` makes one")
        return
    try:
        with open_store(settings.store_url) as store:
            pooled = ", behind a pooler" if store.is_pooled() else ""
            yield Finding("database", True, f"{store.dialect}{pooled}, schema {schema.check(store)}")
            yield from _limits(store)
            yield _counts(store, repair=repair)
            yield from _ranges(store)
            cluster.refuse_two_machines(store)
    except ServiceError as error:
        yield Finding("database", False, error.detail)


def _limits(store: Store) -> Iterator[Finding]:
    """Whether PostgreSQL keeps to the limits that every transaction is begun with."""
    if store.dialect == "postgresql":
        with store.write() as connection:
            missing = missing_settings(connection)
        told = ", ".join(f"{name} is {value} and not {SETTINGS[name]}" for name, value in missing.items())
        kept = ", ".join(f"{name} {value}" for name, value in SETTINGS.items())
        yield Finding(
            "limits", not missing, f"{told}: what is between here and PostgreSQL forgets them" if missing else kept
        )


def _counts(store: Store, *, repair: bool) -> Finding:
    """Whether the counts that are kept of trials are what counting them all comes to."""
    with store.read() as connection:
        wrong = tallies.differences(connection)
    if wrong and repair:
        with tallies.repairing(store) as connection:
            wrong = tallies.repair(connection)
        return Finding("counts", True, f"{_told(wrong)}: mended")
    if wrong:
        return Finding("counts", False, f"{_told(wrong)}: run `nfa doctor --repair`")
    return Finding("counts", True, "those that are kept are those of the trials")


def _ranges(store: Store) -> Iterator[Finding]:
    """Whether measured rows lie in tables of known ranges of trials, and are those of trials that are there."""
    if store.dialect == "postgresql":
        with store.read() as connection:
            wrong = range_checks.problems(connection)
        more = f", and {len(wrong) - 1} more are wrong" if len(wrong) > 1 else ""
        yield Finding("ranges", not wrong, f"{wrong[0]}{more}" if wrong else "measured rows lie where their trials are")


def _told(wrong: Sequence[tallies.Difference]) -> str:
    first = wrong[0]
    whose = experiment_id(first.experiment) if first.experiment else "all trials"
    told = f"{first.name} that are {first.state} of {whose} are kept as {first.kept} and are {first.counted}"
    return told if len(wrong) == 1 else f"{told}, and {len(wrong) - 1} more are wrong"


def _space() -> Iterator[Finding]:
    # looked at, not written
    free = shutil.disk_usage("/tmp").free  # nosec B108
    words = f"{free / 2**30:.1f} GiB free in /tmp, where Ray keeps its session"
    yield Finding("space", free >= _FREE_BYTES, words if free >= _FREE_BYTES else f"{words}; free at least 2 GiB")


def _ray_address() -> Iterator[Finding]:
    address = os.environ.get("NFA_RAY_ADDRESS")
    if not address:
        yield Finding("Ray", None, "NFA_RAY_ADDRESS is not set: a local Ray is started when needed")
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    with contextlib.suppress(OSError, ValueError):
        socket.create_connection((host, int(port)), timeout=3.0).close()
        yield Finding("Ray", True, f"something listens at {address}")
        return
    yield Finding("Ray", False, f"nothing answers at {address}: give NFA_RAY_ADDRESS as host:port of the head's GCS")


def _traces() -> Iterator[Finding]:
    """Whether the receiver of traces takes an empty message, with the headers that it is sent."""
    settings = Settings()
    if settings.otlp_endpoint is None:
        yield Finding("traces", None, "NFA_OTLP_ENDPOINT is not set: there are none")
        return
    asked = Receiver(settings.otlp_endpoint, read_headers(settings.otlp_headers), "doctor")
    outcome, _, why = asked.ask([])
    asked.close()
    taken = outcome == Outcome.TAKEN
    yield Finding("traces", taken, f"{settings.otlp_endpoint} {'takes them' if taken else f'takes none: {why}'}")


def _service(url: str, token: str | None) -> Iterator[Finding]:
    try:
        with Client(url, token, retries=0, timeout_seconds=5.0) as client:
            client.ready()
            cluster = client.cluster()
    except Unreachable as error:
        yield Finding("service", None, str(error))
        return
    except ClientError as error:
        yield Finding("service", False, str(error))
        return
    alive = [one for one in cluster.dispatchers if one.alive]
    words = (
        f"{url}; {counted(len(alive), 'dispatcher')}, {counted(sum(one.slots for one in alive), 'trainer')}, "
        f"{counted(cluster.queued, 'trial')} queued"
    )
    yield Finding("service", bool(alive), words if alive else f"{words}; nothing trains until a dispatcher is started")
