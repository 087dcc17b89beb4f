"""`nfa run`: one grid through a service of its own, which ends with it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Annotated

import typer

from service.cli.display import err, out, print_warning
from service.cli.exits import Exit, Stop
from service.cli.local_service import LocalService, running
from service.cli.options import AsJson, GridFile, read_grid
from service.cli.outcome import report
from service.cli.progress import ExperimentProgress
from service.cli.up import starting, stop_on_sigterm
from service.client import Client
from service.schemas.experiments import ExperimentDetail

_MOST_RESTARTS = 5


def run(
    grid: GridFile,
    home: Annotated[
        Path | None, typer.Option(envvar="NFA_HOME", help="Keep the database here; default: a folder that is removed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a grid without a server: start one, train, print results and verdicts, stop. Exits 1 if a claim fails."""
    body = read_grid(grid)
    with temporary_service(home) as (service, client):
        submitted = client.submit(body)
        ended = follow(service, client, submitted.id)
        code = report(client, ended, as_json=as_json)
        if home is not None and not as_json:
            out.print(f"\nKept in {service.home}: look again with `nfa up --home {home}`", soft_wrap=True)
    raise typer.Exit(code)


@contextlib.contextmanager
def temporary_service(home: Path | None) -> Generator[tuple[LocalService, Client]]:
    """A service on a free port and its client; without a home, its folder is removed at the end."""
    stop_on_sigterm()
    folder = home or Path(tempfile.mkdtemp(prefix="nfa-run-"))
    try:
        with starting() as tell, running(folder, "127.0.0.1", 0, tell) as service, _client(service) as client:
            tell("")
            print_warning(service.warning)
            yield service, client
    finally:
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)


def _client(service: LocalService) -> Client:
    # a database that was named by NFA_DATABASE_URL may have tokens
    return Client(service.url, os.environ.get("NFA_TOKEN"))


def follow(
    service: LocalService, client: Client, experiment: str, each: Callable[[ExperimentDetail], None] | None = None
) -> ExperimentDetail:
    """Show progress until the experiment has ended, and keep the service alive meanwhile."""
    with ExperimentProgress(err) as progress:

        def show(current: ExperimentDetail) -> None:
            progress.show(current)
            if each is not None:
                each(current)

        while True:
            with contextlib.suppress(TimeoutError):
                return client.wait(experiment, progress=show, poll_seconds=0.25, timeout_seconds=1.0)
            for line in service.tend():
                progress.say(line)
            if max(service.api.restarts, service.dispatcher.restarts) > _MOST_RESTARTS:
                raise Stop(f"the service keeps ending; see the logs in {service.home / 'logs'}", Exit.START)
