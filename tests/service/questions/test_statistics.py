"""Statistics by cell equal those of each cell's numbers alone."""

import statistics

import numpy as np
import pytest

from service.questions.statistics import BOOTSTRAP_DRAWS, statistics_of

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


@pytest.mark.parametrize("shift", [0.0, 1.0, 1e8])
def test_a_statistic_equals_numpys_also_far_from_zero(shift):
    generator = np.random.default_rng(0)
    cells = generator.integers(0, 40, 300)
    cells[cells == 7] = 8
    cells[5] = 41
    values = shift + 1e-6 * generator.standard_normal(300)
    found = statistics_of(cells, values, 43, tuple(REFERENCE))
    for name, reference in REFERENCE.items():
        for cell in range(43):
            own = values[cells == cell]
            expected = reference(own) if len(own) else np.nan
            tolerance = 1e-9 if name in ("std", "sem") else 1e-12
            assert found[name][cell] == pytest.approx(expected, rel=tolerance, nan_ok=True), (name, cell)


def test_empty_cells_count_nothing_and_have_no_statistics():
    found = statistics_of(np.empty(0, np.int64), np.empty(0), 3, ("count", "ci95", *REFERENCE))
    assert found.pop("count").tolist() == [0, 0, 0]
    assert len(found) == len(REFERENCE) + 2
    assert all(np.isnan(column).all() for column in found.values())


def test_the_mean_of_equal_numbers_is_that_number_and_that_of_the_largest_is_finite():
    values = np.array([0.1] * 10 + [1.7e308, -1.7e308, 1.7e308])
    found = statistics_of(np.array([0] * 10 + [1] * 3), values, 2, ("mean",))["mean"]
    assert found[0] == 0.1
    assert found[1] == pytest.approx(1.7e308 / 3)


def test_a_bootstrap_drawn_in_pieces_is_the_one_drawn_at_once():
    values = np.random.default_rng(1).standard_normal(5_000)
    draws = np.random.default_rng(0).choice(values, (BOOTSTRAP_DRAWS, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    cells = np.array([0] * len(values) + [2])
    found = statistics_of(cells, np.append(values, 1.0), 3, ("ci95",))
    assert (found["ci95_low"][0], found["ci95_high"][0]) == (low, high)
    assert np.isnan(found["ci95_low"][1:]).all(), "one number and none have no interval"


def test_many_numbers_are_taken_in_parts_with_the_same_statistics(monkeypatch):
    generator = np.random.default_rng(2)
    cells, values = generator.integers(0, 60, 5_000), generator.standard_normal(5_000)
    whole = statistics_of(cells, values, 61, (*REFERENCE, "count", "ci95"))
    monkeypatch.setattr("service.questions.statistics._AT_ONCE", 300)
    parts = statistics_of(cells, values, 61, (*REFERENCE, "count", "ci95"))
    for name, column in whole.items():
        np.testing.assert_array_equal(parts[name], column, err_msg=name)
    lone = statistics_of(np.zeros(1_000, np.int64), values[:1_000], 3, ("mean", "count"))
    assert lone["count"].tolist() == [1_000, 0, 0] and lone["mean"][0] == pytest.approx(values[:1_000].mean())
