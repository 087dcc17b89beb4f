"""Commands that ask questions: results and plot."""

from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from service.cli.display import out, print_json, results_table
from service.cli.exits import Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, ExperimentId, Token, Url, connect, newest
from service.cli.paging import show, sorted_table
from service.grid.axes import moving_together
from service.questions.layers import read_layer
from service.questions.shown_first import shown_first

GroupBy = Annotated[str | None, typer.Option(help="Comma-separated settings; default: the axes.", metavar="PATHS")]
Where = Annotated[
    str | None, typer.Option(help="Only trials that match, as in 'training.weight_decay > 0 and seed < 5'.")
]
Inputs = Annotated[
    str,
    typer.Option(help="Over which metrics of the AGOP are averaged: train, test, data-ID, probes-COUNT-SEED-SCALE."),
]
Layer = Annotated[
    str | None,
    typer.Option(
        help="Layer of a layer's metric: its number from 1, or its name; default: the first that is measured."
    ),
]


def results(
    experiment: ExperimentId = None,
    group_by: GroupBy = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Comma-separated metrics; default: the alignment, if it is measured.", metavar="METRICS"),
    ] = None,
    layer: Layer = None,
    reduce: Annotated[
        str, typer.Option(help="first, final, min, max, mean_last:n, first_above:x or first_below:x.")
    ] = "final",
    agg: Annotated[
        str, typer.Option(help="mean, std, sem, min, max, median, count, qNN, ci95.", metavar="NAMES")
    ] = "mean,std,count",
    inputs: Inputs = "train",
    where: Where = None,
    sort: Annotated[str | None, typer.Option(help="Column to sort by; -COLUMN: downwards.", metavar="COLUMN")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Group an experiment's trials and aggregate a metric over each group."""
    asked = layer_of(layer)
    with connect(url, token) as client:
        number = newest(client, experiment)
        grid = client.experiment(number).grid
        first = shown_first(grid)
        found = client.results(
            number,
            group_by=split(group_by),
            metric=[first.metric] if metric is None else split(metric) or (),
            layer=asked or first.layer,
            reduce=reduce,
            agg=split(agg) or (),
            where=where,
            inputs=inputs,
        )
        hidden = moving_together(grid) if group_by is None else []
        pooling = client.pooling(number, group_by=split(group_by), where=where)
    found = sorted_table(found, sort)
    if as_json:
        print_json(found)
        return
    told = [Text(f"\nA row stands for {pooling.says}")] if pooling.over else []
    show(out, Group(results_table(found, hidden), *told))


def layer_of(text: str | None) -> int | str | None:
    """A layer as it was typed: a number where it is one; None where none was."""
    try:
        return None if text is None else read_layer(text)
    except ValueError as error:
        raise Stop(f"--layer {text}: {error}", Exit.USAGE) from None


def split(text: str | None) -> list[str] | None:
    """Names in a comma-separated option."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
