"""`nfa plot`: draws what the page draws."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from service.cli.answers import Layer, Where, layer_of
from service.cli.display import out, print_json
from service.cli.exits import Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, ExperimentId, Token, Url, connect, newest
from service.questions.shown_first import shown_first


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
    FIT = "fit"


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
    metric: Annotated[
        str | None, typer.Option(help="Metric of curves and phase; default: the alignment, if it is measured.")
    ] = None,
    layer: Layer = None,
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
    coordinates; multiples, curves in rows and columns of panels; the boundary that a search found; or fit, the power
    laws of claims."""
    # Altair takes half a second to import, which only the commands that draw should wait for
    from service.web import drawing  # noqa: PLC0415

    target, numbered = _target(figure, file, style, is_dark=is_dark), layer_of(layer)
    with connect(url, token) as client:
        one = client.experiment(newest(client, experiment))
        told = drawing.channels_of(str(figure), one.axes, one.grid, color=color, dash=dash, facet=facet, x=x)
        first = shown_first(one.grid)
        of = (metric or first.metric, numbered or first.layer)
        asked = (str(figure), told.color, ",".join(told.facets) or None, *of, against, complement)
        wish = drawing.Wish(*asked, title or one.name, where or "", told.dash, x=x, y=y, axes=tuple(one.axes))
        wish = replace(wish, baseline=baseline, room=_room(style, is_wide=is_wide))
        try:
            chart = drawing.draw(wish, drawing.ClientSource(client, one.id, one.grid))
        except drawing.NothingToDraw as nothing:
            raise Stop(f"{one.id} has {nothing}", Exit.REFUSED) from nothing
    written = [target, *_written(chart, target, style, numbers, is_wide=is_wide, is_dark=is_dark)]
    channels = {"color": wish.color, "facet": wish.facet, "dash": wish.dash}
    if as_json:
        beside = {"numbers": str(written[1])} if numbers else {}
        print_json({"file": str(target), "figure": str(figure)} | channels | beside)
    else:
        _say(written, channels, chart if style else None)


def _target(figure: Figure, file: Path | None, style: Style | None, *, is_dark: bool) -> Path:
    """Where the figure goes. Raises Stop for a kind of file that it is not drawn as."""
    from service.web import figures  # noqa: PLC0415
    from service.web.figures import journal  # noqa: PLC0415

    target = file or Path(f"{figure}.{'pdf' if style else 'png'}")
    endings = journal.ENDINGS if style else figures.FORMATS
    if target.suffix not in endings:
        raise Stop(f"--out {target}: figures are drawn as {', '.join(endings)}", Exit.USAGE)
    if is_dark and style:
        raise Stop("--dark: journals print on white; leave out --dark or --style", Exit.USAGE)
    return target


def _room(style: Style | None, *, is_wide: bool) -> int:
    from service.web.figures import journal  # noqa: PLC0415

    return journal.room_of(journal.JOURNALS[style], is_wide=is_wide) if style else 0


def _written(
    chart: Any, target: Path, style: Style | None, numbers: Numbers | None, *, is_wide: bool, is_dark: bool
) -> list[Path]:
    """Write the figure, and its numbers where they are asked for; answers where these are."""
    from service.web import figures  # noqa: PLC0415
    from service.web.figures import journal  # noqa: PLC0415
    from service.web.figures.numbers import write_numbers  # noqa: PLC0415

    # first, since not every kind of figure is written so: then nothing is
    try:
        written = [write_numbers(chart, target, numbers)] if numbers else []
    except ValueError as error:
        raise Stop(str(error), Exit.USAGE) from error
    if style:
        journal.save_fitted(journal.fitted(chart, journal.JOURNALS[style], is_wide=is_wide), target)
    else:
        figures.save(figures.dark(chart) if is_dark else chart, target)
    return written


def _say(written: Sequence[Path], channels: Mapping[str, str | None], in_print: Any) -> None:
    """Which settings are told apart by what; of a figure for print the caption too."""
    named = {"color": "colour", "dash": "dash", "facet": "panel"}
    by = [f"{path.replace(',', ' and ')} by {word}" for key, word in named.items() if (path := channels[key])]
    out.print(f"{' and '.join(map(str, written))}: {', '.join(by)}", soft_wrap=True)
    if in_print:
        from service.web.figures import journal  # noqa: PLC0415

        out.print(f"caption: {journal.caption(in_print)}", soft_wrap=True)
