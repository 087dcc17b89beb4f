"""The `nfa` command."""

import sys
from typing import Annotated

import typer
from pydantic import ValidationError

from service.cli import (
    answers,
    bundles,
    compare,
    database,
    datasets,
    demo,
    doctor,
    experiments,
    export,
    found,
    local_run,
    measuring,
    plot,
    presets,
    reproduce,
    retention,
    serve,
    steering,
    tokens,
    top,
    up,
)
from service.cli.display import print_error, print_problem
from service.cli.exits import HELP, Exit, Stop
from service.cli.preflight import package_version
from service.client.transport import ClientError, Unreachable
from service.errors import NotFound, ServiceError
from service.settings import Settings, in_words

app = typer.Typer(
    name="nfa",
    help="Sweeps on the Neural Feature Ansatz: submit a grid, have every network trained and measured, ask questions.",
    epilog=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for name, command in {
    "up": up.up,
    "demo": demo.demo,
    "run": local_run.run,
    "submit": experiments.submit,
    "watch": experiments.watch,
    "top": top.top,
    "list": experiments.list_experiments,
    "show": experiments.show,
    "results": answers.results,
    "compare": compare.compare,
    "fits": found.fits,
    "export": export.export,
    "bundle": bundles.bundle,
    "verify": bundles.verify,
    "import": bundles.import_,
    "plot": plot.plot,
    "cancel": steering.cancel,
    "pause": steering.pause,
    "resume": steering.resume,
    "retry": steering.retry,
    "extend": steering.extend,
    "measure": measuring.measure,
    "delete": steering.delete,
    "thin": steering.thin,
    "gc": retention.gc,
    "reproduce": reproduce.reproduce,
    "doctor": doctor.doctor,
    "api": serve.api,
}.items():
    app.command(name, epilog=HELP)(command)
app.add_typer(presets.app, name="presets")
app.add_typer(datasets.app, name="datasets")
app.add_typer(database.app, name="db")
app.add_typer(tokens.app, name="token")


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
