"""`nfa export`: a whole sweep to a file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli.display import out, print_json
from service.cli.exits import Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, Token, Url, connect


def export(
    experiment: Annotated[str, typer.Argument(metavar="ID", help="Experiment.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .parquet, .csv, .ndjson or .arrow.")],
    level: Annotated[Literal["layer", "network"], typer.Option(help="Rows: per step and layer, or per step")] = "layer",
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Write every measurement of an experiment to a file; the file is there once it is whole."""
    with connect(url, token) as client:
        try:
            size = client.export(experiment, file, level=level)
        except (ValueError, OSError) as error:
            raise Stop(str(error), Exit.USAGE) from error
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        out.print(f"{file}: {size} bytes")
