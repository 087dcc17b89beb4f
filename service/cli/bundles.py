"""`nfa bundle`, `nfa verify` and `nfa import`: studies as files."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.display import out, print_json
from service.cli.exits import Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, Token, Url, connect


def bundle(
    what: Annotated[list[str], typer.Argument(metavar="ID.. FILE", help="Experiments, and a file ending in .zip.")],
    title: Annotated[str, typer.Option(help="Default: the experiment's name.")] = "",
    author: Annotated[list[str] | None, typer.Option(help="May be given again. Default: the owners.")] = None,
    license: Annotated[str, typer.Option(help="An SPDX identifier such as CC-BY-4.0, or an address.")] = "",
    weights: Annotated[bool, typer.Option("--weights", help="With the weights that trials have kept.")] = False,
    figures: Annotated[bool, typer.Option(help="With every figure that can be drawn.")] = True,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Write experiments that have ended to one archive: measurements, verdicts, figures, how to cite and check them."""
    *experiments, name = what
    file = Path(name)
    if not experiments or file.suffix.lower() != ".zip":
        received = " ".join(what)[:100]
        raise Stop(f"received {received!r}: name experiments, then a file: `nfa bundle e1 e2 study.zip`", Exit.USAGE)
    with connect(url, token) as client:
        first, *also = experiments
        try:
            size = client.bundle(
                first,
                file,
                also=also,
                title=title,
                authors=author or (),
                license=license,
                weights=weights,
                figures=figures,
            )
        except OSError as error:
            raise Stop(f"cannot write {file}: {error}", Exit.USAGE) from error
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        out.print(f"{file}: {size:,} bytes; check it with `nfa verify {file}`", soft_wrap=True)
