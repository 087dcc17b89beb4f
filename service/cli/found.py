"""What an experiment has found, on the command line: boundaries, intervals, fits and why a search ended."""

from collections.abc import Mapping
from typing import Any, Final

from rich.text import Text

from service.cli.display import Columns, out, print_json
from service.cli.options import DEFAULT_URL, AsJson, ExperimentId, Token, Url, connect, newest
from service.cli.plain_tables import PlainTable
from service.client import Client
from service.questions.number_format import number
from service.schemas.fits import BoundaryBody, FitBody, Fits

_BOUNDARIES: Final[Columns] = {
    "boundary of": "left",
    "at": "left",
    "between": "right",
    "value": "right",
    "tried": "right",
}
_ESTIMATES: Final[Columns] = {"at": "left", "estimate": "right", "95 % interval": "right", "seeds": "right", "": "left"}
_FITS: Final[Columns] = {"fit of": "left", "at": "left", "value": "right", "between": "right", "points": "right"}


def fits(experiment: ExperimentId = None, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Show what an experiment has found: boundaries with brackets, intervals of seeds, slopes and rates of claims."""
    with connect(url, token) as client:
        one = newest(client, experiment)
        found = client.fits(one)
        if as_json:
            print_json(found)
        elif not (found.boundaries or found.estimates or found.fits):
            out.print("Nothing is looked for: a grid asks with refine, seeds: {until: ..}, or a claim with a fit.")
        else:
            print_found(found)


def print_found_by(client: Client, experiment: str, grid: Mapping[str, Any]) -> None:
    """The same beside other things, where there is any."""
    fitting = any("fit" in claim for claim in grid.get("claims") or () if isinstance(claim, Mapping))
    if grid.get("refine") or isinstance(grid.get("seeds"), Mapping) or fitting:
        out.print()
        print_found(client.fits(experiment))


def print_found(found: Fits) -> None:
    """Tables of what there is."""
    if found.boundaries:
        out.print(PlainTable(_BOUNDARIES, [row for one in found.boundaries for row in _lines(one)]))
    if found.estimates:
        rows = [
            (
                _group(one.group),
                number(one.estimate),
                f"{number(one.low)} .. {number(one.high)}",
                str(one.seeds),
                Text("narrow", "green") if one.is_certain else Text("wide", "yellow"),
            )
            for one in found.estimates
        ]
        out.print(PlainTable(_ESTIMATES, rows))
    if found.fits:
        rows = [
            (
                one.claim,
                _group(one.group),
                number(one.value),
                _between(one),
                str(one.points),
            )
            for one in found.fits
        ]
        out.print(PlainTable(_FITS, rows))
    for place, why in found.stopped.items():
        out.print(Text(f"{place} {'does not go on' if found.searching else 'ended early'}: {why}", "yellow"))
    if found.searching:
        out.print(f"{found.rounds} rounds so far; more may come.")


def _between(one: FitBody) -> str:
    """Two ends: of a boundary the values tried beside it, else those of an interval."""
    if one.low is None:
        return ""
    return f"{number(one.low)} .. {number(one.high)}{'' if one.kind == 'boundary' else ' (95 %)'}"


def _lines(one: BoundaryBody) -> list[tuple[Any, ...]]:
    statement = f"{one.statement}  ({' and '.join(one.axes)})"
    at = _group(one.group)
    if len(one.axes) > 1:
        told = f"{len(one.cells)} cells" + ("" if one.is_found else ", wider than asked")
        return [(statement, at, told, "", str(one.tried))]
    if not one.brackets:
        return [(statement, at, "no change seen", "", str(one.tried))]
    return [
        (
            statement,
            at,
            f"{number(bracket.low)} .. {number(bracket.high)}",
            Text(number(bracket.value), "green" if bracket.is_found else "yellow"),
            str(one.tried),
        )
        for bracket in one.brackets
    ]


def _group(group: Mapping[str, Any]) -> str:
    return ", ".join(f"{path.rpartition('.')[2]} = {number(value)}" for path, value in group.items())
