"""`nfa db`: the schema of the database."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Annotated

import typer

from service.cli.display import out
from service.cli.exits import HELP, Exit, Stop
from service.cli.options import Home
from service.errors import ServiceError, StoreUnavailable
from service.settings import Settings
from service.store import schema
from service.store.session import Store, open_store

app = typer.Typer(help="The database and its schema.", no_args_is_help=True)
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", envvar="NFA_DATABASE_URL", help="postgresql://..; default: SQLite in the home."),
]


@app.command(epilog=HELP)
def upgrade(home: Home = Path(".nfa"), database_url: DatabaseUrl = None) -> None:
    """Bring the database to the schema this version needs; a database that is current stays as it is."""
    with opened(home, database_url):
        out.print(f"schema {schema.head()}")


@app.command(epilog=HELP)
def current(home: Home = Path(".nfa"), database_url: DatabaseUrl = None) -> None:
    """Print the database's schema; exits 4 if this version cannot use it."""
    if database_url is None and not (home / "nfa.db").is_file():
        raise Stop(f"there is no database in {home}: name the home with --home or NFA_HOME", Exit.START)
    try:
        with open_store(store_url(home, database_url)) as store:
            out.print(f"schema {schema.check(store)}")
    except ServiceError as error:
        raise Stop(error.detail, Exit.START) from error


@contextlib.contextmanager
def opened(home: Path, database_url: str | None) -> Generator[Store]:
    """The store with the schema this version needs, made where there is none."""
    try:
        with open_store(store_url(home, database_url)) as store:
            _upgrade(store)
            yield store
    except StoreUnavailable as error:
        raise Stop(error.detail, Exit.START) from error


def _upgrade(store: Store) -> None:
    try:
        schema.upgrade(store)
    except ServiceError as error:
        raise Stop(error.detail, Exit.START) from error


def store_url(home: Path, database_url: str | None) -> str:
    """Where the store of a home is."""
    return Settings(home=home.expanduser().absolute(), database_url=database_url).store_url
