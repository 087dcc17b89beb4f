"""`nfa export`: a whole sweep to a file, or to another tool."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli.display import out, print_json
from service.cli.exits import Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, Token, Url, connect
from service.client import Client


def export(
    experiment: Annotated[str, typer.Argument(metavar="ID", help="Experiment.")],
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Ends in .parquet, .csv, .ndjson or .arrow; with --to a folder, or MLflow's address."
        ),
    ],
    to: Annotated[
        Literal["mlflow", "tensorboard"] | None, typer.Option(help="Write a run per trial for this tool instead.")
    ] = None,
    level: Annotated[Literal["layer", "network"], typer.Option(help="Rows: per step and layer, or per step")] = "layer",
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Write every measurement of an experiment to a file; the file is there once it is whole.

    With --to, every trial becomes a run with its settings, tags and series: in a folder, for which nothing is to be
    installed, or at an MLflow address, which takes `pip install mlflow-skinny`.
    """
    with connect(url, token) as client:
        try:
            size = client.export(experiment, Path(file), level=level) if to is None else 0
            runs = _write_runs(client, experiment, to, file) if to is not None else 0
        except (ValueError, OSError) as error:
            raise Stop(str(error), Exit.USAGE) from error
    if to is not None:
        if as_json:
            print_json({"to": to, "where": file, "runs": runs})
        else:
            out.print(f"{file}: {runs:,} runs", soft_wrap=True)
    elif as_json:
        print_json({"file": file, "bytes": size})
    else:
        out.print(f"{file}: {size} bytes")


def _write_runs(client: Client, experiment: str, to: str, where: str) -> int:
    """Hand every trial to another tool; answers how many there are."""
    # the readers of Parquet take a third of a second to import
    from service.interchange import mlflow_files, mlflow_server, runs, tensorboard  # noqa: PLC0415

    sweep, found = runs.read_sweep(client, experiment), runs.read_runs(client, experiment)
    if to == "tensorboard":
        return tensorboard.write(sweep, found, Path(where))
    if "://" not in where:
        return mlflow_files.write(sweep, found, Path(where))
    try:
        return mlflow_server.send(sweep, found, where)
    except mlflow_server.NoMlflow as error:
        raise Stop(str(error), Exit.START) from error
