"""What a trial may stop at: `training.stop` held against what it measures. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from nfa_kernels import names
from service.errors import InvalidFilter, InvalidGrid
from service.grid.measured_steps import DEFAULT_POINTS, measured_steps
from service.grid.points import Point
from service.grid.problems import Problems
from service.grid.reading import LAYERS, layer_number
from service.questions import filters

MOST_IN_WINDOW: Final = 256
"""Measured steps of a plateau: what a checkpoint of every trial holds."""
MOST_FILTERS: Final = 200
"""Different expressions of one grid."""
MOST_LISTED: Final = 2_000_000
"""Measured steps that are listed to find the fullest window, of all points of a grid together."""
_PLATEAU: Final = "trial.training.stop.plateau"
_WHEN: Final = "trial.training.stop.when"


def check_stops(document: Mapping[str, Any], points: Iterable[Point], problems: Problems) -> None:
    """Note expressions that cannot be read, and metrics and layers that a trial that stops by them does not measure.

    Args:
        document: the grid.
        points: of it.
        problems: where it is noted.
    """
    if not _may_stop(document):
        return
    seen: set[tuple[int, int, Sequence[str]]] = set()
    windows = _Windows(problems)
    trees: dict[str, filters.Filter | None] = {}
    for point in points:
        form = point.form("training")
        stop = form.get("stop", {})
        if not ("when" in stop or "plateau" in stop) or problems.full:
            continue
        if "plateau" in stop:
            windows.check(stop["plateau"]["over"], point)
        # what is measured follows from no free number, and points that share all else share the objects
        key = id(form), id(point.form("measure")), point.layers
        if key in seen:
            continue
        seen.add(key)
        settings = {**point.settings, LAYERS: point.layers}
        if "when" in stop:
            _check_when(stop["when"], settings, trees, problems)
        if "plateau" in stop:
            own = stop["plateau"]
            _check_measured(f"{_PLATEAU}.metric", own["metric"], own.get("layer"), settings, own["metric"], problems)


def _may_stop(document: Mapping[str, Any]) -> bool:
    """Whether a grid says something about stopping."""
    training = (document.get("trial") or {}).get("training") or {}
    entries = [document.get("axes") or {}, *(document.get("zip") or ()), *(document.get("include") or ())]
    given = [pair for entry in entries for pair in entry.items()]
    wholes = [values if isinstance(values, list) else [values] for path, values in given if path == "training"]
    return (
        "stop" in training
        or any(path.startswith("training.stop") for path, _ in given)
        or any(isinstance(whole, Mapping) and "stop" in whole for values in wholes for whole in values)
    )


def _check_when(
    text: str, settings: Mapping[str, Any], trees: dict[str, filters.Filter | None], problems: Problems
) -> None:
    if text not in trees:
        if len(trees) == MOST_FILTERS:
            problems.add(_WHEN, f"a grid has at most {MOST_FILTERS} different expressions to stop at")
            return
        trees[text] = None
        try:
            trees[text] = filters.parse(text)
        except InvalidFilter as error:
            told = error.errors[0] if error.errors else {}
            problems.add(_WHEN, error.detail, received=text, allowed=told.get("allowed"), nearest=told.get("nearest"))
    tree = trees[text]
    if tree is None:
        return
    read = sorted(filters.paths(tree))
    finals = [(path, found) for path in read if (found := filters.split_final(path)) is not None]
    if "state" in read or not finals:
        problems.add(_WHEN, "asks for no measured number, as final.alignment >= 0.999 does", received=text)
    for path, (metric, layer) in finals:
        _check_measured(_WHEN, metric, layer, settings, path, problems)


class _Windows:
    """Refuses plateaus over more measured steps than a trial remembers.

    Args:
        problems: where it is noted.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems, self._listed = problems, 0

    def check(self, over: int, point: Point) -> None:
        """Look at the windows of so many steps of one point."""
        if over + 2 <= MOST_IN_WINDOW:
            # however often it is measured
            return
        if (every := point.value("measure.every")) is not None:
            most = over // every + 2
        else:
            listed = point.form("measure").get("steps")
            count = point.value("measure.points") or DEFAULT_POINTS if listed is None else len(listed)
            # most windows are too short for it, or trials measured too seldom, to be counted
            most = min(over, count) + 2
            if most > MOST_IN_WINDOW:
                most = self._counted(over, count, point)
        if most > MOST_IN_WINDOW:
            told = f"holds {most} measured steps, over the limit of {MOST_IN_WINDOW}: measure less often, or shorten it"
            self._problems.add(f"{_PLATEAU}.over", told, received=over)

    def _counted(self, over: int, count: int, point: Point) -> int:
        """Measured steps in the fullest window. Raises InvalidGrid where all points together have too many."""
        self._listed += count
        if self._listed > MOST_LISTED:
            told = f"trials of different lengths measure more than {MOST_LISTED:,} steps together"
            advice = "measure them less often, or by measure.every"
            self._problems.add(f"{_PLATEAU}.over", f"{told}: {advice}", received=over)
            self._problems.raise_as(InvalidGrid)
        steps = np.array(measured_steps(point.settings))
        begins = np.searchsorted(steps, steps - over, side="right")
        return int((np.arange(len(steps)) - begins).max()) + 2


def _check_measured(
    place: str, metric: str, layer: int | str | None, settings: Mapping[str, Any], received: str, problems: Problems
) -> None:
    """Note a metric, or a layer, that trials with these settings do not measure, and a metric that is a word."""
    measure = settings["measure"]
    measured = [*measure["metrics"], *(names.alignment_id(a) for a in measure.get("exponents", ()))]
    numeric = [name for name in measured if not (name in names.METRICS and names.METRICS[name].words)]
    if metric not in numeric:
        told = "is a word, and has no size" if metric in measured else "is not measured: add it to measure.metrics"
        problems.add(place, f"{metric} {told}", received=received, allowed=numeric)
    elif layer is not None and metric not in names.NETWORK_METRICS:
        number = layer if isinstance(layer, int) else layer_number(settings, layer)
        if number not in measure["layers"]:
            problems.add(
                place,
                f"layer {layer} is not measured: add it to measure.layers",
                received=received,
                allowed=measure["layers"],
            )
