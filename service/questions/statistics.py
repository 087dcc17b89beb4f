"""Statistics of many numbers by the cell each falls into, whole arrays at a time. Pure."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final

import numpy as np


class Cells:
    """Numbers in cells 0 .. count - 1.

    Args:
        cells: (N,) cell of each number.
        values: (N,) finite numbers.
        count: how many cells there are.
    """

    def __init__(self, cells: np.ndarray, values: np.ndarray, count: int) -> None:
        self._cells, self._values, self._count = cells, values, count

    def statistic(self, name: str) -> np.ndarray:
        """(count,) mean, std, sem (n - 1), min, max, median, count or qNN of every cell; NaN where undefined."""
        function = _STATISTICS.get(name)
        return function(self) if function else self._quantile(int(name[1:]) / 100)

    @cached_property
    def counts(self) -> np.ndarray:
        """(count,) numbers in each cell."""
        return np.bincount(self._cells, minlength=self._count)

    def mean_of(self, numbers: np.ndarray) -> np.ndarray:
        """(count,) mean of (N,) numbers that belong to the same cells; NaN for an empty cell."""
        sums = np.bincount(self._cells, numbers, minlength=self._count)
        return np.divide(sums, self.counts, out=np.full(self._count, np.nan), where=self.counts > 0)

    @cached_property
    def mean(self) -> np.ndarray:
        """(count,), in two passes: the mean, and the mean of what is left."""
        first = self.mean_of(self._values)
        return first + self.mean_of(self._values - first[self._cells])

    def _std(self) -> np.ndarray:
        """About the mean, with what rounding left of it taken out; never from sums of squares."""
        away = self._values - self.mean[self._cells]
        squares = np.bincount(self._cells, away**2, minlength=self._count)
        left = np.bincount(self._cells, away, minlength=self._count) ** 2 / np.maximum(self.counts, 1)
        freedom = self.counts - 1
        variance = np.divide(squares - left, freedom, out=np.full(self._count, np.nan), where=freedom > 0)
        variance = np.maximum(variance, 0.0)
        return np.sqrt(variance)

    def _sem(self) -> np.ndarray:
        return np.divide(self._std(), np.sqrt(self.counts), out=np.full(self._count, np.nan), where=self.counts > 0)

    @cached_property
    def _ordered(self) -> np.ndarray:
        """The numbers sorted within cells, cells in order."""
        return self._values[np.lexsort((self._values, self._cells))]

    def _quantile(self, share: float) -> np.ndarray:
        """Linear between the two nearest numbers."""
        found = np.full(self._count, np.nan)
        filled = self.counts > 0
        starts = (np.cumsum(self.counts) - self.counts)[filled]
        place = share * (self.counts[filled] - 1)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, self.counts[filled] - 1)
        low, high = self._ordered[starts + below], self._ordered[starts + above]
        found[filled] = low + (place - below) * (high - low)
        return found

    def _extreme(self, function: np.ufunc, start: float) -> np.ndarray:
        found = np.full(self._count, start)
        function.at(found, self._cells, self._values)
        return np.where(self.counts > 0, found, np.nan)


_STATISTICS: Final[Mapping[str, Callable[[Cells], np.ndarray]]] = {
    "mean": lambda cells: cells.mean,
    "std": Cells._std,
    "sem": Cells._sem,
    "min": lambda cells: cells._extreme(np.minimum, np.inf),
    "max": lambda cells: cells._extreme(np.maximum, -np.inf),
    "median": lambda cells: cells._quantile(0.5),
    "count": lambda cells: cells.counts,
}
