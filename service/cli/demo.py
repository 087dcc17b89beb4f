"""`nfa demo`: the weight-decay preset through the whole service, from the grid to figures."""

import time
from pathlib import Path
from typing import Annotated

import typer

from service.cli.display import counts, err, out, print_json, verdicts_table
from service.cli.exits import Exit
from service.cli.local_run import follow, temporary_service
from service.cli.options import AsJson
from service.cli.outcome import exit_code
from service.cli.plain_tables import PlainTable
from service.cli.progress import duration
from service.client import Client
from service.questions.number_format import number
from service.schemas.experiments import ExperimentDetail

PRESET = "weight-decay"
DECAY, DEPTH = "training.weight_decay", "network.depth"


def demo(
    folder: Annotated[Path, typer.Option("--out", help="Where the figures go.")] = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Run the weight-decay preset through REST, database, dispatcher and Ray, and draw it. Exits 0 if all claims hold.

    150 small linear networks are trained, with and without weight decay: the Neural Feature Ansatz fails without it
    and holds with it.
    """
    began = time.monotonic()
    with temporary_service(None) as (service, client):
        started = time.monotonic()
        preset = client.preset(PRESET)
        if not as_json:
            out.print(f"{preset.title}: {preset.trials} trials, submitted to {service.url}")
        submitted = client.submit(preset.grid)
        ended = follow(service, client, submitted.id)
        trained = time.monotonic()
        files = draw(client, ended.id, folder)
        code = _report(client, ended, files, as_json=as_json)
    if not as_json:
        err.print(
            f"\n{duration(time.monotonic() - began)} in all: start {started - began:.1f} s, "
            f"trials {trained - started:.1f} s, figures and stop {time.monotonic() - trained:.1f} s"
        )
    raise typer.Exit(code)


def _report(client: Client, ended: ExperimentDetail, files: list[Path], *, as_json: bool) -> Exit:
    verdicts = client.verdicts(ended.id)
    start, end = (
        client.results(ended.id, group_by=[DECAY, DEPTH], reduce=reduce, agg=["mean", "min", "max"])
        for reduce in ("first", "final")
    )
    if as_json:
        print_json(
            {"experiment": ended, "results": end, "verdicts": verdicts, "figures": [str(file) for file in files]}
        )
    else:
        rows = [
            [number(value) for value in (decay, depth, first, mean, low, high, trials)]
            for (decay, depth, first), (mean, low, high, trials) in zip(
                start.select(DECAY, DEPTH, "alignment_mean").iter_rows(),
                end.select("alignment_mean", "alignment_min", "alignment_max", "trials").iter_rows(),
                strict=True,
            )
        ]
        titles = ("weight decay", "depth", "at start", "at end: mean", "min", "max", "trials")
        out.print(f"\nAlignment of layer 1 with its AGOP's power 1/L, {counts(ended)}:\n")
        out.print(PlainTable(dict.fromkeys(titles, "right"), rows))
        out.print()
        out.print(verdicts_table(verdicts))
        out.print("\nFigures: " + ", ".join(str(file) for file in files), soft_wrap=True)
    return exit_code(ended, verdicts)


def draw(client: Client, experiment: str, folder: Path) -> list[Path]:
    """Alignment and its distance from one against step, a panel per depth and a line per weight decay."""
    # Altair takes half a second to import, which only the commands that draw should wait for
    from service.web import figures  # noqa: PLC0415

    curves = client.curves(experiment, group_by=[DEPTH, DECAY])
    pooling = client.pooling(experiment, group_by=[DEPTH, DECAY]).as_pooling()
    found = []
    for name, complement in (("alignment", False), ("one-minus-alignment", True)):
        chart = figures.alignment_curves(
            curves,
            color=DECAY,
            facet=DEPTH,
            complement=complement,
            pooling=pooling,
            title="Weight decay restores the Neural Feature Ansatz",
        )
        found.append(figures.save(chart, folder / f"{name}.png"))
    return found
