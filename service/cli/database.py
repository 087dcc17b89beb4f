"""`nfa db`: the schema of the database."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Annotated

import typer

from service.cli.display import out
from service.cli.exits import HELP, Exit, Stop
from service.cli.options import Home
from service.errors import BackupRefused, Conflict, ServiceError, StoreUnavailable
from service.settings import Settings
from service.store import backups, schema
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
def downgrade(home: Home = Path(".nfa"), database_url: DatabaseUrl = None) -> None:
    """Undo the last step of the schema, to go back to the version before: stop the service and back up first."""
    _refuse_none(home, database_url)
    try:
        with open_store(store_url(home, database_url)) as store:
            out.print(f"schema {schema.downgrade(store)}")
    except Conflict as error:
        raise Stop(error.detail, Exit.REFUSED) from error
    except ServiceError as error:
        raise Stop(error.detail, Exit.START) from error


@app.command(epilog=HELP)
def current(home: Home = Path(".nfa"), database_url: DatabaseUrl = None) -> None:
    """Print the database's schema; exits 4 if this version cannot use it."""
    _refuse_none(home, database_url)
    try:
        with open_store(store_url(home, database_url)) as store:
            out.print(f"schema {schema.check(store)}")
    except ServiceError as error:
        raise Stop(error.detail, Exit.START) from error


@app.command(epilog=HELP)
def backup(
    file: Annotated[Path, typer.Argument(help="Where to.")],
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the file.")] = False,
    home: Home = Path(".nfa"),
    database_url: DatabaseUrl = None,
) -> None:
    """Copy everything into a file, while the service runs. The file holds what the store holds: keep it private."""
    _refuse_none(home, database_url)
    with _as_found(home, database_url) as store:
        size = backups.back_up(store, file, replace=replace)
    out.print(f"{file}: {size:,} bytes", soft_wrap=True)


@app.command(epilog=HELP)
def restore(
    file: Annotated[Path, typer.Argument(help="What `nfa db backup` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Also when the store is not empty; loses that.")] = False,
    home: Home = Path(".nfa"),
    database_url: DatabaseUrl = None,
) -> None:
    """Make the store what it was when the file was written. Dispatchers that run end, and are to be started again."""
    with _as_found(home, database_url) as store:
        backups.restore(store, file, replace=replace)
    out.print(f"restored from {file}; trials that ran are queued again", soft_wrap=True)


@contextlib.contextmanager
def _as_found(home: Path, database_url: str | None) -> Generator[Store]:
    """The store, whatever its schema."""
    try:
        with open_store(store_url(home, database_url)) as store:
            yield store
    except BackupRefused as error:
        raise Stop(error.detail, Exit.REFUSED) from error
    except ServiceError as error:
        raise Stop(error.detail, Exit.START) from error


def _refuse_none(home: Path, database_url: str | None) -> None:
    if database_url is None and not (home / "nfa.db").is_file():
        raise Stop(f"there is no database in {home}: name the home with --home or NFA_HOME", Exit.START)


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
