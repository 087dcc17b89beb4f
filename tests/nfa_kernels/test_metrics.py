"""The measure of a whole stack against the reference, and what a bad lane may not do."""

import pytest
import reference
import torch
from builders import data, lane, stacked

from nfa_kernels import names
from nfa_kernels.metrics import LAYER_METRICS, METRICS, Request, measure
from nfa_kernels.metrics import reference as reference_data
from nfa_kernels.networks import Architecture

EVERYTHING = Request(tuple(names.METRICS), (1, 2, 3), (0.25, 2.0))


def test_names_and_registries_agree():
    assert set(METRICS) == set(names.NETWORK_METRICS)
    assert set(LAYER_METRICS) == set(names.LAYER_METRICS)


@pytest.mark.parametrize("loss", ["half", "mse"])
@pytest.mark.parametrize("activation", ["linear", "relu", "gelu"])
def test_every_metric_equals_the_reference(activation, loss):
    widths = (6, 8, 7, 3)
    weights, (x, y) = stacked("he", widths, range(3)), data(3, 40, 6, 3)
    architecture = Architecture(widths, activation)
    prepared = reference_data(architecture, x, y, x[:, :0], y[:, :0], loss)
    found = measure(architecture, weights, prepared, EVERYTHING, loss)
    assert torch.all(found.network["test_loss"].isnan())
    for index in range(3):
        network, xs, ys = lane(weights, index), x[index].numpy(), y[index].numpy()
        wanted = reference.network_metrics(network, xs, ys, activation, loss)
        assert {name: found.network[name][index].item() for name in wanted} == pytest.approx(wanted, rel=1e-10)
        for layer in (1, 2, 3):
            wanted = reference.layer_metrics(network, xs, activation, layer)
            measured = {name: found.layers[layer][name][index].item() for name in wanted}
            assert measured == pytest.approx(wanted, rel=1e-9)
    assert [(layer, name) for layer, name, _ in found.parametrised[:2]] == [(1, "alignment@0.25"), (1, "alignment@2")]


def test_a_test_set_is_measured_on_its_own():
    widths = (6, 8, 3)
    weights, (x, y) = stacked("he", widths, range(2)), data(2, 40, 6, 3)
    architecture = Architecture(widths)
    prepared = reference_data(architecture, x[:, :30], y[:, :30], x[:, 30:], y[:, 30:], "half")
    found = measure(architecture, weights, prepared, Request(("test_loss",), (1,)), "half")
    for index in range(2):
        wanted, _ = reference.loss_and_gradients(
            lane(weights, index), x[index, 30:].numpy(), y[index, 30:].numpy(), "linear", "half"
        )
        assert found.network["test_loss"][index].item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_a_bad_lane_disturbs_no_other(activation):
    widths = (6, 8, 7, 3)
    weights, (x, y) = stacked("he", widths, range(4)), data(4, 40, 6, 3)
    architecture = Architecture(widths, activation)
    prepared = reference_data(architecture, x, y, x[:, :0], y[:, :0], "half")
    spoiled = tuple(weight.clone() for weight in weights)
    spoiled[1][1], spoiled[0][2] = torch.nan, 0.0
    good, bad = (measure(architecture, w, prepared, EVERYTHING, "half") for w in (weights, spoiled))
    for layer in (1, 2, 3):
        for name, values in bad.layers[layer].items():
            torch.testing.assert_close(
                values[[0, 3]], good.layers[layer][name][[0, 3]], rtol=1e-13, atol=0, equal_nan=True
            )
            # layer 3 lies above the spoiled one: its own matrices are sound
            assert values[1].isnan() or layer == 3
    for name, values in bad.network.items():
        torch.testing.assert_close(values[[0, 3]], good.network[name][[0, 3]], rtol=1e-13, atol=0, equal_nan=True)
    assert bad.network["train_loss"][1].isnan()
    # a collapsed network has no direction, and its loss is that of the zero function
    assert bad.layers[1]["alignment"][2].isnan()
    assert bad.network["relative_loss"][2].item() == pytest.approx(1.0, rel=1e-12)


def test_unknown_metrics_are_refused_by_name():
    with pytest.raises(ValueError, match="metrics: received alignmnt"):
        measure(Architecture((2, 1)), (torch.ones(1, 1, 2),), None, Request(("alignmnt",), (1,)), "half")
