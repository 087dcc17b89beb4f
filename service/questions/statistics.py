"""Statistics of many numbers by the cell each falls into, for tables, curves and phase diagrams alike. Pure."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl

BOOTSTRAP_DRAWS: Final = 2_000
_BOOTSTRAP_SEED: Final = 0
_DRAWN_AT_ONCE: Final = 4_000_000
"""Numbers of one piece of a bootstrap, 64 MiB with their places; the draws do not depend on it."""

_AWAY: Final = pl.col("value") - pl.col("value").first()
"""From the cell's first number: what is summed stays small, and equal numbers have themselves as mean."""
_STATISTICS: Final[dict[str, pl.Expr]] = {
    # what lies too far apart to be subtracted is divided before it is summed
    "mean": pl.coalesce(
        pl.when(_AWAY.mean().is_finite()).then(pl.col("value").first() + _AWAY.mean()),
        (pl.col("value") / pl.len()).sum(),
    ),
    "std": _AWAY.std(ddof=1),
    "sem": _AWAY.std(ddof=1) / pl.len().sqrt(),
    "min": pl.col("value").min(),
    "max": pl.col("value").max(),
    "median": pl.col("value").median(),
}
"""Beside these: count, qNN (a quantile in percent, linear) and ci95 (bootstrap interval of the mean)."""


_AT_ONCE: Final = 500_000
"""Numbers of many cells that are looked at together: what a statistic holds of each is some 50 bytes."""
_COLUMNS: Final = {"ci95": ("ci95_low", "ci95_high")}


def statistics_of(cells: np.ndarray, values: np.ndarray, count: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Statistics of the numbers in each of the cells 0 .. count - 1.

    Args:
        cells: (N,) cell of each number.
        values: (N,) finite numbers.
        count: how many cells there are.
        names: of mean, std, sem (n - 1), min, max, median, count, qNN, ci95.
    Returns:
        (count,) by name, NaN where undefined; ci95 becomes ci95_low and ci95_high.
    """
    if len(values) > _AT_ONCE and count > 1:
        return _by_halves(cells, values, count, names)
    frame = pl.DataFrame({"cell": cells, "value": values})
    plain = [name for name in dict.fromkeys(names) if name not in ("count", "ci95")]
    grouped = frame.group_by("cell").agg(pl.len().alias("count"), *(_expression(name).alias(name) for name in plain))
    places = grouped["cell"].to_numpy()
    found = {"count": np.zeros(count, np.int64)} | {name: np.full(count, np.nan) for name in plain}
    for name, column in found.items():
        column[places] = grouped[name].cast(pl.Float64).fill_null(np.nan).to_numpy() if name in plain else grouped[name]
    if "ci95" in names:
        found["ci95_low"], found["ci95_high"] = _intervals(cells, values, count)
    return {name: found[name] for name in columns_of(names)}


def _by_halves(cells: np.ndarray, values: np.ndarray, count: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The same, of the cells up to the one in which half of the numbers are, and of those behind it, one by one."""
    ends = np.cumsum(np.bincount(cells, minlength=count))
    cut = min(max(int(np.searchsorted(ends, len(values) // 2)), 1), count - 1)
    is_low = cells < cut
    low = statistics_of(cells[is_low], values[is_low], cut, names)
    high = statistics_of(cells[~is_low] - cut, values[~is_low], count - cut, names)
    return {name: np.concatenate([low[name], high[name]]) for name in low}


def columns_of(names: Sequence[str]) -> list[str]:
    """The columns of these statistics, in order: an interval has two."""
    return [column for name in dict.fromkeys(names) for column in _COLUMNS.get(name, (name,))]


def plain(column: np.ndarray) -> list[Any]:
    """The numbers as Python's, None where undefined or infinite."""
    if column.dtype.kind != "f":
        return column.tolist()
    return [number if math.isfinite(number) else None for number in column.tolist()]


def _expression(name: str) -> pl.Expr:
    known = _STATISTICS.get(name)
    return pl.col("value").quantile(int(name[1:]) / 100, "linear") if known is None else known


def _intervals(cells: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap intervals of the mean of each cell; NaN below two numbers."""
    low, high = np.full(count, np.nan), np.full(count, np.nan)
    order = np.argsort(cells, kind="stable")
    bounds = np.searchsorted(cells[order], np.arange(count + 1))
    for cell in np.flatnonzero(np.diff(bounds) >= 2):
        low[cell], high[cell] = _bootstrap(values[order[bounds[cell] : bounds[cell + 1]]])
    return low, high


def _bootstrap(values: np.ndarray) -> tuple[float, float]:
    """Percentile interval of the mean, 2,000 draws from a fixed seed, some at a time."""
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    at_once = max(1, _DRAWN_AT_ONCE // len(values))
    means = [
        generator.choice(values, (min(at_once, BOOTSTRAP_DRAWS - first), len(values))).mean(axis=1)
        for first in range(0, BOOTSTRAP_DRAWS, at_once)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)
