"""The fits that claims use: the rate of an exponential decay and the slope of a power law. Pure."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from service.errors import InvalidFilter
from service.questions import filters

MIN_POINTS = 3


def decay_rate(
    times: Sequence[float], values: Sequence[float | None], *, start: float = 0.0, above: float = 0.0
) -> float | None:
    """Rate r of values ~ exp(-r t), by least squares on the logarithm.

    Only t >= start * last t and values > above * first value enter: early times hold other modes, late values are
    rounding error.

    Returns:
        The rate, per unit of time; None with fewer than three points left.
    """
    t = np.array(times, dtype=float)
    v = np.array([math.nan if value is None else value for value in values], dtype=float)
    if len(t) == 0 or not v[0] > 0:
        return None
    kept = (t >= start * t[-1]) & (v > above * v[0]) & np.isfinite(v) & (v > 0)
    if kept.sum() < MIN_POINTS:
        return None
    return -_slope(t[kept], np.log(v[kept]))


def log_log_slope(pairs: Iterable[tuple[Any, float | None]], transform: str = "x") -> float | None:
    """Slope of log y against log x, y = value or 1 - value.

    Returns:
        The slope; None when a value is undefined, a logarithm does not exist, or x takes fewer than two values.
    """
    points = list(pairs)
    if len({x for x, _ in points}) < 2:
        return None
    found = log_points(points, transform)
    if len(found) < len(points):
        return None
    return _slope(*np.array(found, dtype=float).T)


def log_points(pairs: Iterable[tuple[Any, float | None]], transform: str = "x") -> list[tuple[float, float]]:
    """(log x, log y) of those pairs of which both exist, y = value or 1 - value."""
    values = [(x, None if y is None else 1.0 - y if transform == "1-x" else y) for x, y in pairs]
    return [
        (math.log(x), math.log(y))
        for x, y in values
        if y is not None and y > 0 and isinstance(x, int | float) and x > 0
    ]


def parse_product(text: str) -> Callable[[filters.Lookup], float]:
    """A product of numbers and settings, as in 2*training.weight_decay.

    Raises:
        ValueError: for anything else.
    """
    factors: list[float | str] = []
    for part in text.split("*"):
        word = part.strip()
        if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", word):
            factors.append(float(word))
            continue
        try:
            filters.check_path(word)
        except InvalidFilter as error:
            raise ValueError(
                f"must be a product of numbers and settings, as in 2*training.weight_decay: {error}"
            ) from error
        factors.append(word)

    def product(lookup: filters.Lookup) -> float:
        values = [lookup(factor) if isinstance(factor, str) else factor for factor in factors]
        numbers = [float(v) if isinstance(v, int | float) and not isinstance(v, bool) else math.nan for v in values]
        return math.prod(numbers)

    return product


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Least-squares slope of y against x."""
    centred = x - x.mean()
    return float(centred @ (y - y.mean()) / (centred @ centred))
