"""What claims fit, as answers: slopes of power laws and rates of decays, with intervals. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from service.questions.claim_forms import BoundaryFit, Claim, RateFit, SlopeFit
from service.questions.judging import Row, fit_lines, fit_points, fitted_rates

LEVEL: Final = 0.95
MOST_SEEN: Final = 500


@dataclass(frozen=True, slots=True)
class Fitted:
    """One fitted number."""

    claim: str
    kind: str
    group: Mapping[str, Any]
    """Path -> value of the trials that it was fitted to."""
    value: float | None
    low: float | None
    high: float | None
    points: int
    """What it rests on: pairs of a slope, trials of a rate; of a boundary, how many there are."""
    drawn: "Drawn | None" = None
    """Of a slope that exists."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a power law is drawn from."""

    x: str
    """The setting along which it holds."""
    metric: str
    transform: str
    """x: of the metric itself; 1-x: of one minus it."""
    centre: tuple[float, float]
    """Geometric means of the points; the line goes through it."""
    seen: tuple[tuple[float, float], ...]
    """Points it was fitted to, every n-th of more than MOST_SEEN."""


def fitted(claim: Claim, rows: Sequence[Row]) -> list[Fitted]:
    """The fits behind a claim; none for a claim that fits nothing.

    Ends are those of the 95 % interval of least squares (a slope) or of the mean over trials (a rate), from Student's
    t; null where there are too few points for one. Those of a boundary are the values between which it lies.
    """
    if isinstance(claim.fit, SlopeFit):
        return [_slope(claim, key, pairs) for key, pairs in fit_points(claim, rows)]
    if isinstance(claim.fit, RateFit):
        rates = [rate for rate in fitted_rates(claim, rows) if rate is not None]
        return [_mean(claim.id, rates)]
    if isinstance(claim.fit, BoundaryFit):
        return [
            Fitted(claim.id, "boundary", key, bracket.value, bracket.low, bracket.high, len(line.brackets))
            for key, line in fit_lines(claim, rows)
            for bracket in line.brackets
        ]
    return []


def _slope(claim: Claim, group: Mapping[str, Any], pairs: Sequence[tuple[float, float]]) -> Fitted:
    """Slope of y against x, both logarithms already."""
    n = len(pairs)
    if len({x for x, _ in pairs}) < 2:
        return Fitted(claim.id, "log_log_slope", group, None, None, None, n)
    x, y = np.array(pairs, dtype=float).T
    drawn = _drawn(claim, x, y)
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    left = y - slope * x
    half = _quantile(n - 2) * math.sqrt(float(left @ left) / (n - 2) / float(x @ x)) if n > 2 else math.nan
    return replace(_told(claim.id, "log_log_slope", group, slope, half, n), drawn=drawn)


def _drawn(claim: Claim, x: np.ndarray, y: np.ndarray) -> Drawn:
    """From logarithms (n,)."""
    assert isinstance(claim.fit, SlopeFit)
    every = -(-len(x) // MOST_SEEN)
    seen = tuple(zip(np.exp(x[::every]).tolist(), np.exp(y[::every]).tolist(), strict=True))
    centre = math.exp(float(x.mean())), math.exp(float(y.mean()))
    return Drawn(claim.fit.x, claim.metric, claim.fit.transform, centre, seen)


def _mean(claim: str, values: Sequence[float]) -> Fitted:
    n = len(values)
    if not n:
        return Fitted(claim, "rate", {}, None, None, None, 0)
    half = _quantile(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return _told(claim, "rate", {}, math.fsum(values) / n, half, n)


def _told(claim: str, kind: str, group: Mapping[str, Any], value: float, half: float, points: int) -> Fitted:
    if math.isnan(half):
        return Fitted(claim, kind, group, value, None, None, points)
    return Fitted(claim, kind, group, value, value - half, value + half, points)


def _quantile(freedom: int) -> float:
    """How many standard errors the interval reaches to either side."""
    # a sixth of a second to import, and few who import this file ask
    from scipy.special import stdtrit  # noqa: PLC0415

    return float(stdtrit(freedom, (1 + LEVEL) / 2))
