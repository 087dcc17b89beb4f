"""Gradient flow: the theorem holds along it, it meets closed forms, and a failing network disturbs no other."""

import pytest
import torch
from builders import data, stacked

from nfa_kernels import flow
from nfa_kernels.balance import imbalance_matrices
from nfa_kernels.data import make_data
from nfa_kernels.linear import moment_gradients, moments
from nfa_kernels.losses import loss_of
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture, gradients


def _problem(architecture, weights, x, y, decay, **tolerances):
    """Flow of a stack on the half loss."""
    if architecture.is_product:
        of_data = moments(x, y, "half")
        slope = lambda params: moment_gradients(params, of_data)  # noqa: E731
    else:
        slope = lambda params: gradients(architecture, params, x, y, loss_of("half"))  # noqa: E731
    return flow.Problem(slope, tuple(tuple(array.shape[1:]) for array in weights), decay, **tolerances)


def _flowed(problem, weights, times):
    """Parameters at each time."""
    now = flow.start(problem, weights)
    for until in times:
        while not flow.arrived(now, until):
            now = flow.step(problem, now, until)
        yield until, now, flow.params_of(problem, now)


def _teacher(lanes, **more):
    made = [
        make_data(
            "linear_teacher",
            seed,
            **{
                "samples": 100,
                "inputs": 12,
                "outputs": 4,
                "spectrum": [1.5, 1.0, 0.7, 0.5],
                "noise": 0.1,
                "covariance": "identity",
                "test_samples": 0,
            }
            | more,
        )
        for seed in range(lanes)
    ]
    return torch.stack([one.x for one in made]), torch.stack([one.y for one in made])


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("width", [16, 24, 4])
def test_the_ansatz_holds_throughout_from_balanced_weights(depth, width):
    widths, (x, y) = (12, *[width] * (depth - 1), 4), _teacher(4)
    architecture, weights = Architecture(widths), stacked("balanced", widths, range(4), scale=0.7)
    decay = torch.tensor([0, 0, 0.01, 0.1], dtype=torch.float64)
    prepared = measured_data(architecture, x, y, x[:, :0], y[:, :0], "half")
    asked = Request(("alignment", "residual"), tuple(range(1, depth + 1)))
    for _, now, params in _flowed(_problem(architecture, weights, x, y, decay), weights, (0.1, 2.0, 20.0)):
        assert not now.failed.any()
        for found in measure(architecture, params, prepared, asked, "half").layers.values():
            assert (1 - found["alignment"]).max() <= 1e-12
            assert found["residual"].max() <= 1e-9


def test_imbalance_decays_entrywise_as_weight_decay_says():
    widths, (x, y) = (12, 8, 8, 4), _teacher(3)
    architecture, weights = Architecture(widths), stacked("he", widths, range(3))
    decay = torch.tensor([0, 0.05, 0.3], dtype=torch.float64)
    before = [after - below for after, below in imbalance_matrices(weights)]
    for time, _, params in _flowed(_problem(architecture, weights, x, y, decay), weights, (0.5, 2.0)):
        for start, (after, below) in zip(before, imbalance_matrices(params), strict=True):
            wanted = start * torch.exp(-2 * decay * time)[:, None, None]
            torch.testing.assert_close(after - below, wanted, rtol=1e-8, atol=1e-9)


def test_one_layer_follows_the_closed_form_of_ridge_regression():
    (x, y), decay = data(3, 30, 5, 2), torch.tensor([0.0, 0.1, 2.0], dtype=torch.float64)
    weights = stacked("he", (5, 2), range(3))
    xx = x.mT @ x / 30 + decay[:, None, None] * torch.eye(5, dtype=torch.float64)
    limit = torch.linalg.solve(xx, x.mT @ y / 30).mT
    for time, _, (found,) in _flowed(_problem(Architecture((5, 2)), weights, x, y, decay), weights, (0.3, 1.0, 7.0)):
        wanted = limit + (weights[0] - limit) @ torch.linalg.matrix_exp(-time * xx)
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


def test_a_tighter_tolerance_comes_closer_at_the_fifth_order():
    widths, (x, y) = (12, 8, 4), _teacher(2)
    architecture, weights = Architecture(widths), stacked("he", widths, range(2))
    decay = torch.zeros(2, dtype=torch.float64)
    ends = {}
    for rtol in (1e-5, 1e-8, 1e-12):
        problem = _problem(architecture, weights, x, y, decay, rtol=rtol, atol=rtol / 100)
        *_, (_, now, params) = _flowed(problem, weights, (3.0,))
        ends[rtol] = torch.cat([array.flatten() for array in params]), now.taken.max()
    rough, fine = ((ends[rtol][0] - ends[1e-12][0]).abs().max() for rtol in (1e-5, 1e-8))
    assert fine < rough / 100 and fine < 1e-6
    assert 2 < ends[1e-8][1] / ends[1e-5][1] < 8  # (1e3)^(1/5) = 4 times as many steps


def test_every_network_keeps_its_own_step_size_and_a_failing_one_disturbs_no_other():
    widths, (x, y) = (5, 6, 2), data(3, 20, 5, 2)
    architecture = Architecture(widths, "quadratic")
    weights = stacked("xavier", widths, range(3), scale=0.5)
    # network 1 is not finite from the start, network 2 blows up in finite time with the sign of its loss turned
    bad = tuple(torch.cat([w[:1], torch.full_like(w[1:2], torch.nan), 3 * w[2:]]) for w in weights)
    sign = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)[:, None, None]
    slope = lambda params: tuple(  # noqa: E731
        sign * one for one in gradients(architecture, params, x, y, loss_of("half"))
    )
    shapes = tuple(tuple(array.shape[1:]) for array in weights)
    problem = flow.Problem(slope, shapes, torch.zeros(3, dtype=torch.float64), 1e-8, 1e-10)
    *_, (_, now, together) = _flowed(problem, bad, (0.5, 4.0))
    assert now.failed.tolist() == [False, True, True]
    assert now.time[0] == 4.0 and now.time[1] == 0 and 0 < now.time[2] < 4.0
    alone_problem = _problem(
        architecture, weights, x[:1], y[:1], torch.zeros(1, dtype=torch.float64), rtol=1e-8, atol=1e-10
    )
    *_, (_, _, alone) = _flowed(alone_problem, tuple(w[:1] for w in weights), (0.5, 4.0))
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one[:1], other, rtol=1e-12, atol=1e-13)


def test_float32_and_tolerances_that_are_not_positive_are_refused():
    weights = stacked("he", (5, 2), range(1))
    problem = flow.Problem(lambda params: params, ((2, 5),), torch.zeros(1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"received torch\.float32, needed is float64"):
        flow.start(problem, tuple(w.float() for w in weights))
    with pytest.raises(ValueError, match="allowed are numbers > 0"):
        flow.start(problem._replace(rtol=0.0), weights)
