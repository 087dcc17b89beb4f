"""The `nfa` command."""

import sys
from typing import Annotated

import typer
from pydantic import ValidationError

from service.cli.display import print_error, print_problem
from service.cli.exits import HELP, Exit, Stop
from service.cli.lazy_commands import LazyCommands
from service.cli.versions import package_version
from service.client.transport import ClientError, Unreachable
from service.errors import NotFound, ServiceError
from service.settings import Settings, in_words

app = typer.Typer(
    name="nfa",
    cls=LazyCommands,
    help="Sweeps on the Neural Feature Ansatz: submit a grid, have every network trained and measured, ask questions.",
    epilog=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(package_version("nfa-service"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; every error is one line and an exit code."""
    try:
        app()
    except Stop as stop:
        print_error(str(stop))
        sys.exit(stop.code)
    except Unreachable as error:
        print_error(str(error))
        sys.exit(Exit.UNREACHABLE)
    except ClientError as error:
        print_problem(error)
        sys.exit(Exit.USAGE if error.status in (413, 415, 422) else Exit.REFUSED)
    except ValidationError as error:
        if error.title != Settings.__name__:
            raise
        print_error(in_words(error))
        sys.exit(Exit.USAGE)
    except ServiceError as error:
        print_error(error.detail)
        sys.exit(Exit.USAGE if isinstance(error, NotFound) else Exit.REFUSED)


if __name__ == "__main__":
    main()
