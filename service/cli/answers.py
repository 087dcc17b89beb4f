"""Commands that ask questions: results and plot."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli.display import out, print_json, results_table
from service.cli.exits import Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, ExperimentId, Token, Url, connect, newest
from service.grid.axes import moving_together

GroupBy = Annotated[str | None, typer.Option(help="Comma-separated settings; default: the axes.", metavar="PATHS")]
Where = Annotated[
    str | None, typer.Option(help="Only trials that match, as in 'training.weight_decay > 0 and seed < 5'.")
]
Layer = Annotated[int, typer.Option(min=1, help="Layer of a layer's metric.")]


def results(
    experiment: ExperimentId = None,
    group_by: GroupBy = None,
    metric: Annotated[str, typer.Option(help="Comma-separated metrics.", metavar="METRICS")] = "alignment",
    layer: Layer = 1,
    reduce: Annotated[
        str, typer.Option(help="first, final, min, max, mean_last:n, first_above:x or first_below:x.")
    ] = "final",
    agg: Annotated[
        str, typer.Option(help="mean, std, sem, min, max, median, count, qNN, ci95.", metavar="NAMES")
    ] = "mean,std,count",
    where: Where = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Group an experiment's trials and aggregate a metric over each group."""
    with connect(url, token) as client:
        number = newest(client, experiment)
        found = client.results(
            number,
            group_by=split(group_by),
            metric=split(metric) or (),
            layer=layer,
            reduce=reduce,
            agg=split(agg) or (),
            where=where,
        )
        hidden = moving_together(client.experiment(number).grid) if group_by is None else []
    if as_json:
        print_json(found)
    else:
        out.print(results_table(found, hidden))


class Figure(StrEnum):
    """What `nfa plot` draws."""

    CURVES = "curves"
    IMBALANCE = "imbalance"
    PHASE = "phase"
    EXPONENT = "exponent"
    PROFILE = "profile"
    SPECTRA = "spectra"


def plot(
    experiment: ExperimentId = None,
    figure: Annotated[Figure, typer.Argument(help="What to draw.")] = Figure.CURVES,
    file: Annotated[Path | None, typer.Option("--out", help=".png, .svg, .pdf, .html or .json")] = None,
    color: Annotated[str | None, typer.Option(help="Setting told apart by colour; default: the last axis.")] = None,
    facet: Annotated[str | None, typer.Option(help="Setting told apart by panel; default: the axis before.")] = None,
    metric: Annotated[str, typer.Option(help="Metric of curves and phase.")] = "alignment",
    layer: Layer = 1,
    against: Annotated[Literal["step", "time"], typer.Option(help="What curves run along.")] = "step",
    complement: Annotated[bool, typer.Option("--complement", help="Draw 1 - metric, on a log axis.")] = False,
    title: Annotated[str | None, typer.Option(help="Default: the experiment's name.")] = None,
    is_dark: Annotated[bool, typer.Option("--dark", help="On a dark ground, as for slides.")] = False,
    where: Where = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Draw an experiment: curves, imbalance, phase (colour by panel), exponent by depth, profile (alignment
    by exponent), or spectra."""
    # Altair takes half a second to import, which only the commands that draw should wait for
    from service.web import figures  # noqa: PLC0415

    target = file or Path(f"{figure}.png")
    if target.suffix not in figures.FORMATS:
        raise Stop(f"--out {target}: figures are drawn as {', '.join(figures.FORMATS)}", Exit.USAGE)
    from service.web import drawing  # noqa: PLC0415

    with connect(url, token) as client:
        one = client.experiment(newest(client, experiment))
        hue, panel = told_apart(one.axes, moving_together(one.grid), color, facet)
        wish = drawing.Wish(str(figure), hue, panel, metric, layer, against, complement, title or one.name, where or "")
        try:
            chart = drawing.draw(wish, drawing.ClientSource(client, one.id, one.grid))
        except drawing.NothingToDraw as nothing:
            raise Stop(f"{one.id} has {nothing}", Exit.REFUSED) from nothing
    figures.save(figures.dark(chart) if is_dark else chart, target)
    if as_json:
        print_json({"file": str(target), "figure": str(figure), "color": hue, "facet": panel})
    else:
        out.print(f"{target}: {hue} by colour" + (f", {panel} by panel" if panel else ""), soft_wrap=True)


def told_apart(axes: list[str], hidden: list[str], color: str | None, facet: str | None) -> tuple[str, str | None]:
    """Which settings get colours and panels: what was asked for, else the axes, network settings as panels."""
    free = [path for path in axes if path not in hidden and path not in (color, facet)]
    free.sort(key=lambda path: path.startswith("network."))
    hue = color or (free.pop(0) if free else "seed")
    return hue, facet or (free[-1] if free else None)


def split(text: str | None) -> list[str] | None:
    """Names in a comma-separated option."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
