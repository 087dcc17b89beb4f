"""`nfa db`: the schema of the database."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.display import out
from service.cli.exits import HELP, Exit, Stop
from service.cli.options import Home
from service.errors import ServiceError
from service.settings import Settings
from service.store import schema
from service.store.session import open_store

app = typer.Typer(help="The database and its schema.", no_args_is_help=True)
Url = Annotated[
    str | None,
    typer.Option("--database-url", envvar="NFA_DATABASE_URL", help="postgresql://..; default: SQLite in the home."),
]


@app.command(epilog=HELP)
def upgrade(home: Home = Path(".nfa"), database_url: Url = None) -> None:
    """Bring the database to the schema this version needs; a database that is current stays as it is."""
    url = _url(home, database_url)
    if url.startswith("sqlite"):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with open_store(url) as store:
            out.print(f"schema {schema.upgrade(store)}")
    except ServiceError as error:
        raise Stop(error.detail, Exit.START) from error


@app.command(epilog=HELP)
def current(home: Home = Path(".nfa"), database_url: Url = None) -> None:
    """Print the database's schema; exits 4 if this version cannot use it."""
    _require_file(home, database_url)
    try:
        with open_store(_url(home, database_url)) as store:
            out.print(f"schema {schema.check(store)}")
    except ServiceError as error:
        raise Stop(error.detail, Exit.START) from error


def _url(home: Path, database_url: str | None) -> str:
    return Settings(home=home.expanduser().absolute(), database_url=database_url).store_url


def _require_file(home: Path, database_url: str | None) -> None:
    if database_url is None and not (home / "nfa.db").is_file():
        raise Stop(f"there is no database in {home}: name the home with --home or NFA_HOME", Exit.START)
