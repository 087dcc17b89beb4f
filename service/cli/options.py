"""Options that several commands share, and what they are for."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.exits import Exit, Stop
from service.client import Client, Grid
from service.client.transport import DEFAULT_URL

Url = Annotated[str, typer.Option("--url", envvar="NFA_URL", help="Where the service is.", metavar="URL")]
Token = Annotated[
    str | None, typer.Option("--token", envvar="NFA_TOKEN", help="Sent as a bearer token.", metavar="TOKEN")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON, for scripts.")]
ExperimentId = Annotated[str | None, typer.Argument(metavar="[ID]", help="Experiment; default: the newest.")]
GridFile = Annotated[Path, typer.Argument(metavar="GRID", help="YAML or JSON file; - reads standard input.")]
Home = Annotated[Path, typer.Option("--home", envvar="NFA_HOME", help="Folder of the database and logs.")]

CLIENT_RETRIES = 2
__all__ = [
    "DEFAULT_URL",
    "AsJson",
    "ExperimentId",
    "GridFile",
    "Home",
    "Token",
    "Url",
    "connect",
    "newest",
    "read_grid",
]


def connect(url: str, token: str | None = None) -> Client:
    """A client that gives up soon enough for a person who waits."""
    return Client(url, token, retries=CLIENT_RETRIES)


def newest(client: Client, experiment: str | None) -> str:
    """The id that was given, or the newest experiment's."""
    if experiment is not None:
        if not (experiment.startswith("e") and experiment[1:].isdecimal()):
            raise Stop(
                f"{experiment!r} is no experiment: ids look like e12 and come first, as in `nfa plot e12 curves`; "
                "`nfa list` shows them",
                Exit.USAGE,
            )
        return experiment
    for one in client.experiments():
        return one.id
    raise Stop("there is no experiment yet: submit one, for instance with `nfa presets run weight-decay`", Exit.REFUSED)


def read_grid(file: Path) -> Grid:
    """The grid in a file or on standard input."""
    if str(file) == "-":
        return typer.get_binary_stream("stdin").read()
    if not file.is_file():
        raise Stop(f"{file} is not a file; `nfa presets` lists the grids that ship with the service", Exit.USAGE)
    return file
