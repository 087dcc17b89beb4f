"""The measure of a whole stack against the reference, and what a bad lane may not do."""

import math

import pytest
import reference
import torch
from builders import data, lane, stacked

from nfa_kernels import names
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import FAMILIES, LAYER_METRICS, METRICS, Request, measure
from nfa_kernels.networks import Architecture

FAMILIES_ASKED = ("agop_singular_value@1", "agop_singular_value@2", "gram_agop_subspace@2", "teacher_overlap@2")
EVERYTHING = Request((*names.METRICS, *FAMILIES_ASKED), (1, 2, 3), (0.25, 2.0))


def _prepared(architecture, x, y, loss="half"):
    return measured_data(architecture, x, y, x[:, :0], y[:, :0], loss)


def _measured(architecture, weights, x, y, request=EVERYTHING, loss="half", decay=0.1):
    """Measured against initial weights of other seeds, with one decay for all networks."""
    lanes = len(weights[0])
    return measure(
        architecture,
        weights,
        _prepared(architecture, x, y, loss),
        request,
        loss,
        initial=stacked("xavier", architecture.widths, range(100, 100 + lanes)),
        weight_decay=torch.full((lanes,), decay, dtype=torch.float64),
    )


def test_names_and_registries_agree():
    assert set(METRICS) == set(names.NETWORK_METRICS)
    assert set(LAYER_METRICS) == set(names.LAYER_METRICS)
    assert set(FAMILIES) == {name.partition("@")[0] for name in names.METRIC_FAMILIES}


@pytest.mark.parametrize("loss", ["half", "mse"])
@pytest.mark.parametrize("activation", ["linear", "relu", "gelu"])
def test_every_metric_equals_the_reference(activation, loss):
    widths = (6, 8, 7, 3)
    weights, (x, y) = stacked("he", widths, range(3)), data(3, 40, 6, 3)
    found = _measured(Architecture(widths, activation), weights, x, y, loss=loss)
    assert torch.all(found.network["test_loss"].isnan())
    assert torch.all(found.network["accuracy"].isnan())
    for index in range(3):
        network, xs, ys = lane(weights, index), x[index].numpy(), y[index].numpy()
        wanted = reference.network_metrics(network, xs, ys, activation, loss)
        assert {name: found.network[name][index].item() for name in wanted} == pytest.approx(wanted, rel=1e-10)
        for layer in (1, 2, 3):
            wanted = reference.layer_metrics(network, xs, activation, layer)
            measured = {name: found.layers[layer][name][index].item() for name in wanted}
            assert measured == pytest.approx(wanted, rel=1e-9)
    assert [(layer, name) for layer, name, _ in found.parametrised[:2]] == [(1, "alignment@0.25"), (1, "alignment@2")]


@pytest.mark.parametrize("activation", ["linear", *reference.ACTIVATIONS])
def test_every_variant_of_the_literature_equals_the_reference(activation):
    widths = (6, 8, 7, 3)
    weights, initial, (x, y) = stacked("he", widths, range(2)), stacked("xavier", widths, (100, 101)), data(2, 20, 6, 3)
    found = _measured(Architecture(widths, activation), weights, x, y)
    families = {(layer, name): values for layer, name, values in found.parametrised}
    for index in range(2):
        for layer in (1, 2, 3):
            wanted = reference.further_layer_metrics(
                lane(weights, index), lane(initial, index), x[index].numpy(), y[index].numpy(), activation, 0.1, layer
            )
            measured = {
                name: (families[layer, name] if "@" in name else found.layers[layer][name])[index].item()
                for name in wanted
            }
            assert measured == pytest.approx(wanted, rel=1e-9, abs=1e-12)
        assert found.layers[3]["layer_imbalance"].isnan().all()


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
def test_every_metric_equals_the_reference_after_hundreds_of_steps(activation):
    widths, decay = (5, 7, 6, 3), 0.05
    start, (x, y) = stacked("he", widths, range(2), scale=0.7), data(2, 25, 5, 3)
    trained = [
        reference.train(lane(start, index), x[index].numpy(), y[index].numpy(), activation, 0.05, decay, 300)
        for index in range(2)
    ]
    weights = tuple(torch.stack([torch.from_numpy(layer) for layer in pair]) for pair in zip(*trained, strict=True))
    found = measure(
        Architecture(widths, activation),
        weights,
        _prepared(Architecture(widths, activation), x, y),
        EVERYTHING,
        "half",
        initial=start,
        weight_decay=torch.tensor([decay, decay], dtype=torch.float64),
    )
    for index in range(2):
        xs, ys = x[index].numpy(), y[index].numpy()
        for layer in (1, 2, 3):
            wanted = reference.layer_metrics(trained[index], xs, activation, layer)
            wanted |= reference.further_layer_metrics(
                trained[index], lane(start, index), xs, ys, activation, decay, layer
            )
            measured = {name: found.layers[layer][name][index].item() for name in wanted if "@" not in name}
            assert measured == pytest.approx({name: wanted[name] for name in measured}, rel=1e-9, abs=1e-12)
            exponent, value = reference.best_exponent(trained[index], xs, activation, layer)
            assert found.layers[layer]["best_alignment"][index].item() == pytest.approx(value, abs=1e-9)
            if not found.layers[layer]["best_exponent"][index].isnan() and exponent < 99:
                assert found.layers[layer]["best_exponent"][index].item() == pytest.approx(exponent, rel=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_float32_passes_measure_the_same_to_six_digits(activation):
    """Weights are exact in both; a pass rounds by 6e-8 an operation, and nothing behind it does."""
    widths, (x, y) = (12, 16, 14, 3), data(2, 60, 12, 3)
    # five points, so that the AGOP has rank 15 of 16 at most: rounding must not fill the rest
    x = x[:, :5].repeat(1, 12, 1)
    weights, initial = ([w.float() for w in stacked("he", widths, range(at, at + 2))] for at in (0, 100))
    architecture, decay = Architecture(widths, activation), torch.full((2,), 0.1, dtype=torch.float64)
    double, single = (
        measure(
            architecture,
            tuple(weights),
            measured_data(architecture, x, y, x[:, :40], y[:, :40], "half", dtype=dtype),
            EVERYTHING,
            "half",
            initial=tuple(initial),
            weight_decay=decay,
        )
        for dtype in (torch.float64, torch.float32)
    )
    pairs = [(name, double.network[name], single.network[name]) for name in double.network]
    pairs += [(name, double.layers[n][name], single.layers[n][name]) for n in (1, 2, 3) for name in double.layers[n]]
    pairs += [(a[1], a[2], b[2]) for a, b in zip(double.parametrised, single.parametrised, strict=True)]
    for name, exact, found in pairs:
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, exact, rtol=3e-6, atol=1e-6, equal_nan=True, msg=name)
    assert torch.equal(single.layers[2]["agop_rank"], double.layers[2]["agop_rank"])
    assert not torch.equal(single.layers[1]["alignment"], double.layers[1]["alignment"])


def test_only_what_is_asked_for_is_measured():
    weights, (x, y) = stacked("he", (6, 8, 3), range(2)), data(2, 40, 6, 3)
    architecture = Architecture((6, 8, 3))
    request = Request(("train_loss", "alignment", "agop_singular_value@3"), (2,))
    found = measure(architecture, weights, _prepared(architecture, x, y), request, "half")
    assert set(found.network) == {"train_loss"}
    assert {layer: set(values) for layer, values in found.layers.items()} == {2: {"alignment"}}
    assert [(layer, name) for layer, name, _ in found.parametrised] == [(2, "agop_singular_value@3")]


def test_one_missing_argument_is_named():
    weights, (x, y) = stacked("he", (6, 8, 3), range(2)), data(2, 40, 6, 3)
    architecture = Architecture((6, 8, 3))
    for metric, argument in (("nfa_dnfa", "initial"), ("fact_alignment", "weight_decay")):
        with pytest.raises(ValueError, match=f"{argument}: received None"):
            measure(architecture, weights, _prepared(architecture, x, y), Request((metric,), (1,)), "half")


def test_changes_of_the_weights_are_undefined_before_the_first_update():
    weights, (x, y) = stacked("he", (6, 8, 3), range(2)), data(2, 40, 6, 3)
    architecture = Architecture((6, 8, 3), "relu")
    variants = ("nfa_dnfa", "nfa_agopfl", "c_nfa")
    prepared = _prepared(architecture, x, y)
    found = measure(architecture, weights, prepared, Request(variants, (1, 2)), "half", initial=weights)
    for layer in (1, 2):
        assert all(found.layers[layer][name].isnan().all() for name in variants)


def test_end_to_end_singular_values_and_modes_of_a_linear_network():
    strengths = torch.tensor([2.0, 0.5, 0.0101, 0.0099, 0.0], dtype=torch.float64)
    weights = (torch.diag(strengths)[None], torch.eye(5, dtype=torch.float64)[None, :4])
    architecture, (x, y) = Architecture((5, 5, 4)), data(1, 9, 5, 4)
    wanted = [f"agop_singular_value@{index}" for index in range(1, 8)]
    found = measure(architecture, weights, _prepared(architecture, x, y), Request(("modes", *wanted), (1,)), "half")
    assert found.network["modes"].tolist() == [3.0]
    values = [value.item() for _, _, value in found.parametrised]
    assert values[:5] == pytest.approx([2.0, 0.5, 0.0101, 0.0099, 0.0], rel=1e-13)
    assert all(math.isnan(value) for value in values[5:])
    nonlinear = Architecture((5, 5, 4), "relu")
    found = measure(nonlinear, weights, _prepared(nonlinear, x, y), Request(("modes",), (1,)), "half")
    assert found.network["modes"].isnan().all()


def test_a_test_set_is_measured_on_its_own():
    widths = (6, 8, 3)
    weights, (x, y) = stacked("he", widths, range(2)), data(2, 40, 6, 3)
    architecture = Architecture(widths)
    prepared = measured_data(architecture, x[:, :30], y[:, :30], x[:, 30:], y[:, 30:], "half")
    found = measure(architecture, weights, prepared, Request(("test_loss", "generalisation_gap"), (1,)), "half")
    for index in range(2):
        train, test = ((x[index, part].numpy(), y[index, part].numpy()) for part in (slice(30), slice(30, None)))
        wanted = reference.metrics_on_a_test_set(lane(weights, index), train, test, "linear", "half")
        assert {name: values[index].item() for name, values in found.network.items()} == pytest.approx(
            wanted, rel=1e-12
        )


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_a_bad_lane_disturbs_no_other(activation):
    widths = (6, 8, 7, 3)
    weights, (x, y) = stacked("he", widths, range(4)), data(4, 40, 6, 3)
    architecture = Architecture(widths, activation)
    spoiled = tuple(weight.clone() for weight in weights)
    spoiled[1][1], spoiled[0][2] = torch.nan, 0.0
    good, bad = (_measured(architecture, w, x, y) for w in (weights, spoiled))
    for layer in (1, 2, 3):
        for name, values in bad.layers[layer].items():
            torch.testing.assert_close(
                values[[0, 3]], good.layers[layer][name][[0, 3]], rtol=1e-13, atol=0, equal_nan=True
            )
            # layer 3 lies above the spoiled one, and the Gram matrix of layer 1 is sound too
            assert values[1].isnan() or layer == 3 or (layer == 1 and name.startswith("gram_"))
    for name, values in bad.network.items():
        torch.testing.assert_close(values[[0, 3]], good.network[name][[0, 3]], rtol=1e-13, atol=0, equal_nan=True)
    assert bad.network["train_loss"][1].isnan()
    # a collapsed network has no direction, and its loss is that of the zero function
    assert bad.layers[1]["alignment"][2].isnan()
    assert bad.network["relative_loss"][2].item() == pytest.approx(1.0, rel=1e-12)


def test_unknown_metrics_are_refused_by_name():
    with pytest.raises(ValueError, match="metrics: received alignmnt"):
        _measured(Architecture((6, 3)), stacked("he", (6, 3), [0]), *data(1, 9, 6, 3), Request(("alignmnt",), (1,)))
