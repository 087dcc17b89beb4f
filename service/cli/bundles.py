"""`nfa bundle`, `nfa verify` and `nfa import`: studies as files."""

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import JustifyMethod

from service.bundles.checks import TOLERANCE, Check
from service.bundles.opening import MOST_BYTES, opened
from service.bundles.retraining import retraining
from service.cli.database import DatabaseUrl
from service.cli.database import opened as opened_store
from service.cli.display import out, print_json
from service.cli.exits import Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, Home, Token, Url, connect
from service.cli.plain_tables import PlainTable
from service.errors import InvalidBundle
from service.settings import Settings


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


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `nfa bundle` wrote.")],
    owner: Annotated[str, typer.Option(help="Whose the experiments are to be.")] = "local",
    most_bytes: Annotated[int, typer.Option(help="Refuse what unpacks to more.", min=1)] = MOST_BYTES,
    home: Home = Path(".nfa"),
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Bring a bundle's experiments into the store: its trials count as trained, and nothing is trained.

    Works on the database itself, also while the service runs. What was measured is believed: import what you trust, or
    check it with `nfa verify --rerun` first.
    """
    # the readers of Parquet take a third of a second to import
    from service.bundles.importing import import_bundle  # noqa: PLC0415

    with opened_store(home, database_url) as store, opened(file, most_bytes) as found:
        done = import_bundle(store, found, Settings().limits, owner)
    if as_json:
        print_json({"experiments": [asdict(one) for one in done]})
        return
    rows = [[one.id, one.name, one.source, str(one.trials), str(one.reused)] for one in done]
    titles: dict[str, JustifyMethod] = {"id": "left", "name": "left", "in the bundle": "left"}
    out.print(PlainTable(titles | {"trials": "right", "were here": "right"}, rows))


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `nfa bundle` wrote.")],
    rerun: Annotated[int, typer.Option(help="So many trials are drawn and trained again.", min=0, max=10_000)] = 0,
    tolerance: Annotated[float, typer.Option(help="How far their numbers may lie apart.", min=0)] = TOLERANCE,
    seed: Annotated[int | None, typer.Option(help="Of the draw; default: another one each time.")] = None,
    most_bytes: Annotated[int, typer.Option(help="Refuse what unpacks to more.", min=1)] = MOST_BYTES,
    as_json: AsJson = False,
) -> None:
    """Check a bundle: its files, its trials against its grids, its verdicts from its tables. Exits 1 if one fails.

    Needs no service and no store. With --rerun, trials are trained again on this machine's CPU and compared number by
    number: bit for bit where the processor and torch are alike, else to --tolerance.
    """
    done: list[Check] = []
    try:
        # what trains imports torch meanwhile
        with opened(file, most_bytes) as found, retraining() if rerun else contextlib.nullcontext() as process:
            # the readers of Parquet take a third of a second to import
            from service.bundles.verifying import verify as each_check  # noqa: PLC0415

            own = {"reruns": rerun, "tolerance": tolerance, "seed": seed, "process": process}
            for check in each_check(found, Settings().limits, **own):
                done.append(check)
                if not as_json:
                    out.print(f"{'ok  ' if check.holds else 'FAIL'}  {check.what}: {check.says}", soft_wrap=True)
    except InvalidBundle as error:
        raise Stop(error.detail, Exit.NO) from error
    if as_json:
        print_json(
            {"file": str(file), "holds": all(one.holds for one in done), "checks": [asdict(one) for one in done]}
        )
    raise typer.Exit(Exit.OK if all(one.holds for one in done) else Exit.NO)
