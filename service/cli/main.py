"""The `nfa` command."""

from typing import Annotated

import typer

from service.cli.exits import HELP
from service.cli.lazy_commands import LazyCommands
from service.cli.versions import package_version

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
    except Exception as error:
        # to know the errors of all commands is to import the client, which takes half a second
        from service.cli.ended import ended  # noqa: PLC0415

        ended(error)


if __name__ == "__main__":
    main()
