"""Slopes and rates behind claims, with intervals of least squares."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from service.questions.fitted import fitted
from service.questions.judging import Claim, Row, parse_claims
from service.states import TrialState


def _claim(fit: Mapping[str, object]) -> Claim:
    return parse_claims([{"id": "a", "metric": "train_loss", "gate": "none", "fit": fit}])[0]


def _rows(pairs: Sequence[tuple[float, float]]) -> list[Row]:
    return [
        Row(f"t{at}", TrialState.COMPLETED, {"training.learning_rate": x}.get, {}, {0: y})
        for at, (x, y) in enumerate(pairs)
    ]


def test_a_slope_and_its_interval_are_those_of_least_squares():
    random = np.random.default_rng(0)
    x = np.geomspace(0.001, 0.1, 12)
    y = np.exp(2 * np.log(x) + random.normal(0, 0.1, 12))
    fit = {"kind": "log_log_slope", "x": "training.learning_rate", "by": [], "between": [1.9, 2.1]}
    (found,) = fitted(_claim(fit), _rows([(float(a), float(b)) for a, b in zip(x, y, strict=True)]))
    design = np.stack([np.log(x), np.ones(12)], axis=1)
    solution, left, *_ = np.linalg.lstsq(design, np.log(y), rcond=None)
    error = math.sqrt(left[0] / 10 * np.linalg.inv(design.T @ design)[0, 0])
    assert found.value == pytest.approx(solution[0], rel=1e-12)
    assert found.low is not None and found.high is not None
    # 2.228139: Student's t with ten degrees of freedom, 97.5 %, of any table
    assert (found.high - found.low) / 2 == pytest.approx(2.228139 * error, rel=1e-6)
    assert found.points == 12


def test_two_points_have_a_slope_and_no_interval_and_one_has_neither():
    fit = {"kind": "log_log_slope", "x": "training.learning_rate", "by": [], "between": [1.9, 2.1]}
    (two,) = fitted(_claim(fit), _rows([(0.1, 1.0), (0.2, 4.0)]))
    assert two.value == pytest.approx(2.0) and (two.low, two.high) == (None, None)
    (one,) = fitted(_claim(fit), _rows([(0.1, 1.0)]))
    assert (one.value, one.points) == (None, 1)


def test_a_boundary_is_the_bracket_in_which_the_condition_turns():
    fit = {"kind": "boundary", "x": "training.learning_rate", "is": ">= 1", "between": [0, 1]}
    (found,) = fitted(_claim(fit), _rows([(0.1, 2.0), (0.2, 2.0), (0.3, 0.5), (0.4, 0.1)]))
    assert (found.kind, found.low, found.high) == ("boundary", 0.2, 0.3)
