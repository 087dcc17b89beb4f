"""Numbers that do not see the scale of the weights are right or undefined, from 1e-150 to 1e150."""

import pytest
import torch
from builders import data, stacked

from nfa_kernels import names
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture

SCALES = (1e-150, 1e-120, 1e-103, 1e-81, 1e-75, 1e-60, 1e60, 1e75, 1e81, 1e103, 1e120, 1e150)
OF_LAYERS = (
    *("alignment", "alignment_half", "alignment_one", "best_alignment", "best_exponent", "null_floor", "agop_rank"),
    *("pearson", "pearson_offdiagonal", "nfa_dnfa", "nfa_agopfl", "uc_nfa", "c_nfa", "fact_alignment"),
    *("gram_stable_rank", "agop_stable_rank", "pearson_half", "pearson_half_zero_diagonal"),
)
OF_NETWORK = ("imbalance_relative", "ntk_alignment", "ntk_movement")
HOMOGENEOUS = ("linear", "relu", "leaky_relu")


def measured(widths, activation, scales, *, metrics=(*OF_NETWORK, *OF_LAYERS), dtype=torch.float64):
    """Of two networks whose layers are multiplied by numbers, beside initial weights multiplied alike.

    `dtype` is that of the weights and of the passes over the samples.
    """
    architecture, (x, y) = Architecture(widths, activation), data(2, 30, widths[0], widths[-1])
    weights, initial = (
        tuple((weight * scale).to(dtype) for weight, scale in zip(stacked("he", widths, seeds), scales, strict=True))
        for seeds in ((0, 1), (100, 101))
    )
    found = measure(
        architecture,
        weights,
        measured_data(architecture, x, y, x[:, :0], y[:, :0], "half", dtype=dtype),
        Request(metrics, tuple(range(1, len(widths)))),
        "half",
        initial=initial,
        weight_decay=torch.full((2,), 0.1, dtype=torch.float64),
    )
    return {("network", name): value for name, value in found.network.items()} | {
        (layer, name): value for layer, values in found.layers.items() for name, value in values.items()
    }


def assert_right_or_undefined(found, wanted, told, *, within=1e-9):
    for key, values in found.items():
        # residuals of another scale make another gradient, so FACT has another direction
        if key[1] != "fact_alignment":
            right = torch.isclose(values, wanted[key], rtol=within, atol=within / 1000) | values.isnan()
            assert right.all(), (told, key, values, wanted[key])
        else:
            assert (values.isnan() | (values.abs() <= 1 + 1e-12)).all(), (told, key, values)


@pytest.mark.parametrize("activation", HOMOGENEOUS)
@pytest.mark.parametrize("widths", [(6, 5, 3), (6, 8, 7, 3), (5, 6, 4, 6, 2)])
@pytest.mark.parametrize("scale", SCALES)
def test_a_network_times_a_number_measures_the_same(widths, activation, scale):
    depth = len(widths) - 1
    wanted = measured(widths, activation, [1.0] * depth)
    assert_right_or_undefined(measured(widths, activation, [scale] * depth), wanted, scale)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("power", [-36, -30, -20, -16, -15, -14, -13, -10, 10, 12, 13, 20, 36])
def test_passes_in_float32_are_right_or_undefined_too(activation, power):
    """A product of three layers underflows there at 1e-13 already."""
    wanted, found = (
        measured((6, 8, 7, 3), activation, [scale] * 3, dtype=torch.float32) for scale in (1.0, 10.0**power)
    )
    assert_right_or_undefined(found, wanted, power, within=2e-5)


@pytest.mark.parametrize(
    ("activation", "dtype", "ordinary", "tiny"),
    [
        ("linear", torch.float64, 1e-20, (1e-90, 1e-103, 1e-106, 1e-130, 1e-150, 1e-160)),
        ("relu", torch.float64, 1e-20, (1e-90, 1e-103, 1e-106, 1e-130, 1e-150, 1e-160)),
        ("tanh", torch.float64, 1e-20, (1e-90, 1e-103, 1e-106, 1e-130, 1e-150, 1e-160)),
        ("relu", torch.float32, 1e-6, (1e-10, 1e-12, 1e-14, 1e-21, 1e-22, 1e-30)),
    ],
)
@pytest.mark.parametrize("widths", [(6, 8, 7, 3), (5, 6, 4, 6, 2)])
def test_fact_of_a_network_near_zero_is_that_of_one_less_near_or_undefined(widths, activation, dtype, ordinary, tiny):
    """Where the outputs vanish beside the targets the gradient keeps its direction, until underflow rounds it."""
    depth, within = len(widths) - 1, 1e-9 if dtype == torch.float64 else 1e-4
    asked = {"metrics": ("fact_alignment",), "dtype": dtype}
    wanted = measured(widths, activation, [ordinary] * depth, **asked)
    for scale in tiny:
        for key, values in measured(widths, activation, [scale] * depth, **asked).items():
            right = torch.isclose(values, wanted[key], rtol=within, atol=within) | values.isnan()
            assert right.all(), (scale, key, values, wanted[key])
    assert not any(values.isnan().any() for values in wanted.values())


@pytest.mark.parametrize("scale", [1e-150, 1e-81, 1e81, 1e150])
def test_a_linear_network_of_any_scale_is_measured(scale):
    """Not merely undefined: products of matrices are taken to pieces."""
    found = measured(
        (6, 8, 7, 3), "linear", [scale] * 3, metrics=("alignment", "best_exponent", "pearson", "agop_rank")
    )
    assert not any(values.isnan().any() for (_, name), values in found.items() if name != "best_exponent")


@pytest.mark.parametrize(
    "scales", [(1e-140, 1e140, 1.0), (1e150, 1e-150, 1e-150), (1.0, 1e-150, 1.0), (1e150, 1.0, 1e-10)]
)
def test_layers_of_very_different_scales_measure_as_those_of_one(scales):
    per_layer = tuple(name for name in OF_LAYERS if name != "fact_alignment")
    wanted = measured((6, 8, 7, 3), "linear", [1.0] * 3, metrics=per_layer)
    found = measured((6, 8, 7, 3), "linear", [float(one) for one in scales], metrics=per_layer)
    assert_right_or_undefined(found, wanted, scales)
    assert not any(found[layer, "alignment"].isnan().any() for layer in (1, 2, 3))


@pytest.mark.parametrize("scale", [1e-100, 1e-60, 1e60, 1e100])
def test_sizes_follow_the_scale(scale):
    sizes = {"gram_norm": 2, "agop_norm": 4, "layer_imbalance": 2}
    network = {"imbalance": 2, "weight_norm": 1}
    asked = (*sizes, *network, "residual", "scale", "feature_velocity")
    wanted, found = (measured((6, 5, 3), "linear", [factor] * 2, metrics=asked) for factor in (1.0, scale))
    for key, value in found.items():
        power = (sizes | network).get(key[1])
        if power and abs(power * torch.tensor(scale).log10()) < 300:
            torch.testing.assert_close(value, wanted[key] * scale**power, rtol=1e-9, atol=0, equal_nan=True)
        assert not value.isinf().any() or power, key
    # decay moves a network by itself alone: what the loss adds has other powers
    assert (found[1, "feature_velocity"].isnan() | (found[1, "feature_velocity"] > 0)).all()
    # balanced or not, M and G^(1/2) of two layers scale alike
    torch.testing.assert_close(found[1, "residual"], wanted[1, "residual"], rtol=1e-9, atol=0)
    torch.testing.assert_close(found[1, "scale"], wanted[1, "scale"], rtol=1e-9, atol=0)


def test_a_layer_that_is_zero_has_no_rank_and_one_that_underflows_has_none_told():
    found = measured((6, 5, 3), "relu", [1.0, 0.0], metrics=("agop_rank", "alignment"))
    assert found[1, "agop_rank"].tolist() == [0, 0] and found[1, "alignment"].isnan().all()
    found = measured((6, 8, 7, 3), "relu", [1e-150] * 3, metrics=("agop_rank",))
    assert found[1, "agop_rank"].isnan().all()


def test_every_metric_without_a_unit_is_tried_here():
    plain = {name for name, metric in names.METRICS.items() if metric.unit in ("dimensionless", "count")}
    tried = {*OF_LAYERS, *OF_NETWORK, "residual", "scale"}
    # ratios of losses, counts above an absolute threshold
    assert plain - tried == {"relative_loss", "modes"}


@pytest.mark.parametrize("factor", [1e-120, 1e120, float("nan")])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_a_network_has_the_same_bits_beside_one_of_another_scale(activation, factor):
    widths, (x, y) = (6, 8, 7, 3), data(3, 30, 6, 3)
    architecture, weights = Architecture(widths, activation), list(stacked("he", widths, range(3)))
    request = Request(names.DEFAULT_METRICS, (1, 2, 3))

    def found(lanes):
        prepared = measured_data(architecture, x[lanes], y[lanes], x[lanes, :0], y[lanes, :0], "half")
        measured = measure(architecture, tuple(one[lanes] for one in weights), prepared, request, "half")
        return [*measured.network.items(), *(item for n in (1, 2, 3) for item in measured.layers[n].items())]

    alone = [found(slice(lane, lane + 1)) for lane in (0, 2)]
    weights[0][1] *= factor
    together = found(slice(None))
    for lane, values in zip((0, 2), alone, strict=True):
        for (name, one), (_, other) in zip(values, together, strict=True):
            assert torch.equal(one.nan_to_num(nan=-7.0), other[lane : lane + 1].nan_to_num(nan=-7.0)), name
