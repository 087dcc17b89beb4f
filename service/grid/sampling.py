"""`sample`: points drawn from ranges of settings, beside axes; the first of many are those of few. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.grid.axes import Factor, Table, check_axis_path, is_mapping, is_whole
from service.grid.problems import Problems
from service.grid.sobol import MOST_DIMENSIONS, random, sobol

MAX_DRAWN: Final = 500_000
"""Numbers that are drawn for one grid."""
FORMS: Final = {
    "linear": "{linear: [from, to]}",
    "log_uniform": "{log_uniform: [from, to]}",
    "integers": "{integers: [from, to]}",
    "choices": "{choices: [..]}, or a list",
}
_SAME: Final = {"uniform": "linear", "log": "log_uniform"}
"""What others call them."""


class Sample(BaseModel):
    """Points drawn from ranges."""

    model_config = ConfigDict(extra="forbid", strict=True)

    count: int = Field(ge=1, le=100_000, description="How many points.")
    method: Literal["sobol", "random"] = Field("sobol", description="sobol: evenly spread; random: independent.")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Another one draws other points.")
    ranges: dict[str, Any] = Field(min_length=1, max_length=MOST_DIMENSIONS, description="Dotted path -> its range.")


def sampled_paths(grid: Mapping[str, Any]) -> list[str]:
    """Paths that a grid, which is valid, draws values of."""
    return list((grid.get("sample") or {}).get("ranges") or ())


def grouping(axes: Sequence[str], grid: Mapping[str, Any]) -> list[str]:
    """The axes that tables are grouped by where nobody says so: a drawn number stands in one group alone."""
    drawn = frozenset(sampled_paths(grid))
    return [path for path in axes if path not in drawn]


def read_sample(written: Mapping[str, Any] | None, problems: Problems) -> Factor | None:
    """The points of `sample` as choices that set all of its paths; None without any, or after noting what is wrong."""
    if written is None:
        return None
    try:
        sample = Sample.model_validate(dict(written))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            path = ".".join(("sample", *map(str, detail["loc"])))
            problems.add_pydantic(detail, path, list(Sample.model_fields))
        return None
    drawn = {path: _range(path, one, f"sample.ranges.{path}", problems) for path, one in sample.ranges.items()}
    if sample.count * len(drawn) > MAX_DRAWN:
        told = f"{sample.count} points of {len(drawn)} ranges are more than {MAX_DRAWN:,} numbers: draw fewer"
        problems.add("sample.count", told, received=sample.count)
    if problems:
        return None
    units = (sobol if sample.method == "sobol" else random)(sample.count, len(drawn), sample.seed)
    columns = {path: make(units[:, at]) for at, (path, make) in enumerate(drawn.items()) if make is not None}
    return Factor(Table(columns, {path: (f"sample.ranges.{path}", "") for path in columns}))


Make = Callable[[np.ndarray], list[Any]]
"""Values of numbers in (0, 1)."""


def _range(path: str, written: Any, origin: str, problems: Problems) -> Make | None:
    """What makes values of a path; None after noting what is wrong."""
    if not check_axis_path(path, origin, problems):
        return None
    form = {"choices": written} if isinstance(written, list) else written
    kind, given = next(iter(form.items())) if isinstance(form, Mapping) and len(form) == 1 else ("", None)
    kind = _SAME.get(kind, kind)
    if is_mapping(path):
        problems.add(origin, "is a mapping: draw settings in it by their own paths")
    elif kind == "choices" and isinstance(given, list) and given:
        return partial(_chosen, given)
    elif kind not in FORMS or kind == "choices" or (ends := _pair(given)) is None:
        problems.add(origin, "is no range to draw from", received=written, allowed=list(FORMS.values()))
    elif wrong := _wrong(kind, *ends):
        problems.add(origin, wrong, received=written)
    else:
        return _numbers(path, kind, *ends)
    return None


def _numbers(path: str, kind: str, low: float, high: float) -> Make:
    """What makes numbers between two ends."""
    if kind == "integers":
        start, count = int(low), int(high) - int(low) + 1
        return lambda units: [start + at for at in _floor(units, count)]
    between = _between if kind == "linear" else _between_logs
    if is_whole(path):
        return lambda units: [round(between(low, high, one)) for one in units.tolist()]
    # 12 digits: logarithms of two systems may differ in the last of 17
    return lambda units: [float(f"{between(low, high, one):.12g}") for one in units.tolist()]


def _chosen(given: Sequence[Any], units: np.ndarray) -> list[Any]:
    return [given[at] for at in _floor(units, len(given))]


def _wrong(kind: str, low: float, high: float) -> str:
    if not low < high:
        return "from must be less than to"
    if kind == "log_uniform" and low <= 0:
        return "log_uniform takes two positive ends"
    if kind == "integers" and not (float(low).is_integer() and float(high).is_integer() and high - low < 2**40):
        return "integers takes two whole numbers, both of which may be drawn"
    return ""


def _pair(given: Any) -> tuple[float, float] | None:
    """Two ends of a range, if these are such."""
    if not (isinstance(given, list | tuple) and len(given) == 2):
        return None
    low, high = given
    fine = all(isinstance(one, int | float) and not isinstance(one, bool) and abs(one) <= 1e300 for one in given)
    return (low, high) if fine else None


def _floor(units: np.ndarray, count: int) -> list[int]:
    return np.minimum((units * count).astype(np.int64), count - 1).tolist()


def _between(low: float, high: float, unit: float) -> float:
    return low + unit * (high - low)


def _between_logs(low: float, high: float, unit: float) -> float:
    return min(max(math.exp(_between(math.log(low), math.log(high), unit)), low), high)
