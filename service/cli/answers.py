"""Commands that ask questions: results and plot."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli.display import out, print_json, results_table
from service.cli.exits import Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, ExperimentId, Token, Url, connect, newest
from service.grid.axes import moving_together
from service.questions.layers import read_layer

GroupBy = Annotated[str | None, typer.Option(help="Comma-separated settings; default: the axes.", metavar="PATHS")]
Where = Annotated[
    str | None, typer.Option(help="Only trials that match, as in 'training.weight_decay > 0 and seed < 5'.")
]
Layer = Annotated[str, typer.Option(help="Layer of a layer's metric: its number from 1, or its name.")]


def results(
    experiment: ExperimentId = None,
    group_by: GroupBy = None,
    metric: Annotated[str, typer.Option(help="Comma-separated metrics.", metavar="METRICS")] = "alignment",
    layer: Layer = "1",
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
            layer=_layer(layer),
            reduce=reduce,
            agg=split(agg) or (),
            where=where,
        )
        hidden = moving_together(client.experiment(number).grid) if group_by is None else []
        pooling = client.pooling(number, group_by=split(group_by), where=where)
    if as_json:
        print_json(found)
        return
    out.print(results_table(found, hidden))
    if pooling.over:
        out.print(f"\nA row stands for {pooling.says}", soft_wrap=True)


class Figure(StrEnum):
    """What `nfa plot` draws."""

    CURVES = "curves"
    IMBALANCE = "imbalance"
    PHASE = "phase"
    EXPONENT = "exponent"
    PROFILE = "profile"
    SPECTRA = "spectra"
    SCATTER = "scatter"
    DISTRIBUTION = "distribution"
    DIFFERENCE = "difference"
    PARALLEL = "parallel"
    MULTIPLES = "multiples"
    BOUNDARY = "boundary"


class Style(StrEnum):
    """Journals whose columns figures fit."""

    AISTATS = "aistats"
    ICML = "icml"
    NATURE = "nature"


class Numbers(StrEnum):
    """How a figure's numbers are written beside it."""

    CSV = "csv"
    TIKZ = "tikz"


def plot(
    experiment: ExperimentId = None,
    figure: Annotated[Figure, typer.Argument(help="What to draw.")] = Figure.CURVES,
    file: Annotated[Path | None, typer.Option("--out", help=".png, .svg, .pdf, .html or .json")] = None,
    color: Annotated[
        str | None,
        typer.Option(help="Setting told apart by colour; default: the first axis that is none of the network's."),
    ] = None,
    facet: Annotated[
        str | None,
        typer.Option(help="Settings told apart by panel, comma-separated, or none; default: what is left."),
    ] = None,
    dash: Annotated[
        str | None, typer.Option(help="Setting told apart by dashes, or none; default: an axis of few values.")
    ] = None,
    metric: Annotated[str, typer.Option(help="Metric of curves and phase.")] = "alignment",
    layer: Layer = "1",
    against: Annotated[Literal["step", "time"], typer.Option(help="What curves run along.")] = "step",
    complement: Annotated[bool, typer.Option("--complement", help="Draw 1 - metric, on a log axis.")] = False,
    x: Annotated[
        str, typer.Option(help="Along the horizontal axis of trials: a setting or final.METRIC[layer].", metavar="PATH")
    ] = "",
    y: Annotated[str, typer.Option(help="Along the vertical one; default: final.METRIC.", metavar="PATH")] = "",
    baseline: Annotated[str, typer.Option(help="Value of --x that others are compared with; default: the first.")] = "",
    title: Annotated[str | None, typer.Option(help="Default: the experiment's name.")] = None,
    style: Annotated[
        Style | None, typer.Option(help="A journal's column: width in mm, letters in points, fonts embedded, no title.")
    ] = None,
    is_wide: Annotated[bool, typer.Option("--wide", help="With --style: as wide as the page, not a column.")] = False,
    numbers: Annotated[
        Numbers | None, typer.Option("--format", help="Also write the figure's numbers, as FILE.csv or FILE.tex.")
    ] = None,
    is_dark: Annotated[bool, typer.Option("--dark", help="On a dark ground, as for slides.")] = False,
    where: Where = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Draw an experiment: curves, imbalance, phase (colour by panel), exponent by depth, profile (alignment
    by exponent), spectra; trials as scatter, distribution over seeds, difference to a baseline, parallel
    coordinates; multiples, curves in rows and columns of panels; or the boundary that a search found."""
    # Altair takes half a second to import, which only the commands that draw should wait for
    from service.web import figures  # noqa: PLC0415
    from service.web.figures import journal  # noqa: PLC0415
    from service.web.figures.numbers import write_numbers  # noqa: PLC0415

    target, number_or_name = file or Path(f"{figure}.{'pdf' if style else 'png'}"), _layer(layer)
    endings = journal.ENDINGS if style else figures.FORMATS
    if target.suffix not in endings:
        raise Stop(f"--out {target}: figures are drawn as {', '.join(endings)}", Exit.USAGE)
    if is_dark and style:
        raise Stop("--dark: journals print on white; leave out --dark or --style", Exit.USAGE)
    from service.web import drawing  # noqa: PLC0415

    with connect(url, token) as client:
        one = client.experiment(newest(client, experiment))
        told = drawing.channels_of(str(figure), one.axes, one.grid, color=color, dash=dash, facet=facet, x=x)
        panel = ",".join(told.facets) or None
        asked = (str(figure), told.color, panel, metric, number_or_name, against, complement)
        wish = drawing.Wish(*asked, title or one.name, where or "", told.dash, x=x, y=y, axes=tuple(one.axes))
        room = journal.room_of(journal.JOURNALS[style], is_wide=is_wide) if style else 0
        wish = replace(wish, baseline=baseline, room=room)
        try:
            chart = drawing.draw(wish, drawing.ClientSource(client, one.id, one.grid))
        except drawing.NothingToDraw as nothing:
            raise Stop(f"{one.id} has {nothing}", Exit.REFUSED) from nothing
    if style:
        journal.save_fitted(journal.fitted(chart, journal.JOURNALS[style], is_wide=is_wide), target)
    else:
        figures.save(figures.dark(chart) if is_dark else chart, target)
    written = [target]
    if numbers:
        try:
            written.append(write_numbers(chart, target, numbers))
        except ValueError as error:
            raise Stop(str(error), Exit.USAGE) from error
    if as_json:
        channels = {"color": told.color, "facet": panel, "dash": told.dash}
        beside = {"numbers": str(written[1])} if numbers else {}
        print_json({"file": str(target), "figure": str(figure)} | channels | beside)
    else:
        channels = {"colour": told.color, "dash": told.dash, "panel": panel and panel.replace(",", " and ")}
        by = ", ".join(f"{path} by {channel}" for channel, path in channels.items() if path)
        out.print(f"{' and '.join(map(str, written))}: {by}", soft_wrap=True)
        if style:
            out.print(f"caption: {journal.caption(chart)}", soft_wrap=True)


def _layer(text: str) -> int | str:
    """A layer as it was typed: a number where it is one."""
    try:
        return read_layer(text)
    except ValueError as error:
        raise Stop(f"--layer {text}: {error}", Exit.USAGE) from None


def split(text: str | None) -> list[str] | None:
    """Names in a comma-separated option."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
