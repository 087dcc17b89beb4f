"""Statistics by cell equal those of each cell's numbers alone."""

import statistics

import numpy as np
import pytest

from service.questions.statistics import Cells

REFERENCE = {
    "mean": np.mean,
    "std": lambda x: statistics.stdev(x.tolist()) if len(x) > 1 else np.nan,
    "sem": lambda x: statistics.stdev(x.tolist()) / np.sqrt(len(x)) if len(x) > 1 else np.nan,
    "min": np.min,
    "max": np.max,
    "median": np.median,
    "q05": lambda x: np.quantile(x, 0.05),
    "q95": lambda x: np.quantile(x, 0.95),
}


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("shift", [0.0, 1.0, 1e8])
def test_a_statistic_equals_numpys_also_far_from_zero(name, shift):
    generator = np.random.default_rng(0)
    cells = generator.integers(0, 40, 300)
    cells[cells == 7] = 8
    cells[5] = 41
    values = shift + 1e-6 * generator.standard_normal(300)
    found = Cells(cells, values, 43).statistic(name)
    for cell in range(43):
        own = values[cells == cell]
        expected = REFERENCE[name](own) if len(own) else np.nan
        assert found[cell] == pytest.approx(expected, rel=1e-9 if name in ("std", "sem") else 1e-12, nan_ok=True), cell


def test_empty_cells_count_nothing_and_have_no_statistics():
    cells = Cells(np.empty(0, np.int64), np.empty(0), 3)
    assert cells.statistic("count").tolist() == [0, 0, 0]
    assert all(np.isnan(cells.statistic(name)).all() for name in REFERENCE)
