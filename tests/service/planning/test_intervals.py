"""Intervals cover the true value when seeds are added until they are narrow, over a thousand simulated sweeps."""

import math

import numpy as np
import pytest

from service.planning.intervals import mean_interval, share_interval

_SWEEPS = 1_000


def _stopped(draws, interval_of, enough, at_least, at_most):
    """The interval at which a sweep stops: at the first that is narrow, looking after every seed."""
    for seeds in range(at_least, at_most + 1):
        interval = interval_of(draws[:seeds])
        if interval.half_width <= enough:
            return interval
    return interval


def _mean(values):
    return mean_interval(list(values))


def _share(values):
    return share_interval(int(sum(values)), len(values))


@pytest.mark.parametrize("distribution", ["normal", "uniform", "beta"])
def test_the_interval_at_which_a_sweep_stops_covers_its_mean_in_95_of_100_sweeps(distribution):
    random = np.random.default_rng(1)
    draws, truth = {
        "normal": (random.normal(0.9, 0.02, (_SWEEPS, 60)), 0.9),
        "uniform": (random.uniform(0.86, 0.94, (_SWEEPS, 60)), 0.9),
        "beta": (random.beta(9, 1, (_SWEEPS, 60)), 0.9),
    }[distribution]
    enough = float(draws.std()) * 0.6
    ends = [_stopped(row, _mean, enough, 5, 60) for row in draws]
    assert sum(one.low <= truth <= one.high for one in ends) >= 0.95 * _SWEEPS


def test_looking_after_every_seed_an_ordinary_interval_covers_less():
    """The control: without the sequence the same rule is wrong too often, so the test above can fail."""
    random = np.random.default_rng(1)

    def ordinary(values):
        n = len(values)
        interval = mean_interval(list(values))
        half = 1.96 * float(np.std(values, ddof=1)) / math.sqrt(n)
        return type(interval)(interval.estimate, interval.estimate - half, interval.estimate + half)

    draws = random.normal(0.9, 0.02, (_SWEEPS, 60))
    ends = [_stopped(row, ordinary, 0.02 * 0.6, 5, 60) for row in draws]
    assert sum(one.low <= 0.9 <= one.high for one in ends) < 0.93 * _SWEEPS


@pytest.mark.parametrize("truth", [0.02, 0.5, 0.97])
def test_a_share_is_covered_at_every_number_of_trials_together(truth):
    random = np.random.default_rng(2)
    draws = random.random((300, 60)) < truth
    covered = [
        all(_share(row[:n]).low <= truth <= _share(row[:n]).high for n in (1, 2, 5, 10, 20, 40, 60)) for row in draws
    ]
    assert sum(covered) >= 0.95 * 300


def test_an_interval_is_where_the_e_process_reaches_twenty():
    values = [0.1, 0.4, 0.2, 0.7, 0.3, 0.5]
    interval, n = mean_interval(values), len(values)
    for end in (interval.low, interval.high):
        t2 = n * (interval.estimate - end) ** 2 / np.var(values, ddof=1)
        u, shrink = t2 / (n - 1), 1 + n
        assert shrink**-0.5 * ((1 + u) / (1 + u / shrink)) ** (n / 2) == pytest.approx(20, rel=1e-9)


def test_few_values_tell_nothing_and_equal_ones_everything():
    assert math.isnan(mean_interval([]).estimate)
    assert mean_interval([1.0]).half_width == math.inf
    assert mean_interval([0.5] * 10).half_width == 0.0
    assert (share_interval(0, 0).low, share_interval(0, 0).high) == (0.0, 1.0)
    assert share_interval(40, 40).high == 1.0 and share_interval(0, 40).low == 0.0
    assert 0.85 < share_interval(40, 40).low < 1.0
