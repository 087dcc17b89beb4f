"""Outputs, Jacobians and gradients by one compiled pass over the samples: those of the tensor library."""

from typing import Any

import pytest
import torch
from builders import data, stacked
from compilers import needs_compiler

from nfa_kernels import agop, agop_ways, cost
from nfa_kernels.losses import loss_of
from nfa_kernels.native.compiling import SWITCH
from nfa_kernels.native.graphs import ACTIVATIONS
from nfa_kernels.native.sweeps import Targets, swept
from nfa_kernels.networks import Architecture, gradients, samples_last

pytestmark = needs_compiler
SHAPES = [(5, 9, 7, 3), (33, 64, 17, 4), (1, 1, 1), (6, 70, 2), (3, 4, 5, 6, 7, 2), (8, 100, 100, 12)]
KINDS: list[dict[str, Any]] = [{"activation": name} for name in ACTIVATIONS if name != "linear"]
KINDS += [{"activation": "relu", "bias": True}, {"activation": "tanh", "bias": True, "parameterization": "mup"}]


def _stack(widths, kind, dtype, samples=150, lanes=3):
    architecture, (x, y) = Architecture(widths, **kind), data(lanes, samples, widths[0], widths[-1])
    weights = stacked("he", widths, range(lanes))
    drawn = torch.Generator().manual_seed(3)
    biases = [torch.randn(one.shape, generator=drawn).double() for one in architecture.zero_biases(weights)]
    params = tuple(one.to(dtype) for one in (*weights, *biases))
    return architecture, params, samples_last(x).to(dtype), samples_last(y).to(dtype)


def _close(found, wanted, tolerance, told):
    assert (found - wanted).abs().max() <= tolerance * wanted.abs().max(), told


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-5)])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(str(value) for value in kind.values()))
@pytest.mark.parametrize("widths", SHAPES)
def test_what_a_pass_finds_is_what_the_tensor_library_finds(widths, kind, dtype, tolerance, monkeypatch):
    architecture, params, x, y = _stack(widths, kind, dtype)
    below, every = range(1, architecture.depth), [*range(1, architecture.depth + 1)]
    monkeypatch.setenv(SWITCH, "0")
    wanted = [*agop._sweeps(architecture, params, x, every, every, agop.BLOCK_ELEMENTS)]
    known = gradients(architecture, params, x, y, loss_of("half"))
    monkeypatch.setenv(SWITCH, "1")
    # all of them, and each by itself: what is not asked for is not written, and the rest is the same
    asked = [(below, below), *(([layer], []) for layer in below), *(([], [layer]) for layer in below), ([], [])]
    for at_inputs, at_preactivations in asked:
        found = swept(architecture, params, x, 150**-0.5, at_inputs, at_preactivations, Targets(y, "half"))
        assert found is not None
        _close(found.outputs, torch.cat([part.outputs for part in wanted]), tolerance, "outputs")
        for name, of_layers in (("inputs", found.inputs), ("preactivations", found.preactivations)):
            for layer, rows in of_layers.items():
                _close(rows, torch.cat([getattr(part, name)[layer] for part in wanted]), tolerance, (name, layer))
        for index, (one, other) in enumerate(zip(architecture.pulled_back(found.gradients), known, strict=True)):
            _close(one, other, 10 * tolerance, ("gradient", index))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("widths", [(5, 9, 7, 3), (33, 64, 17, 4), (1, 1, 1), (3, 4, 5, 6, 7, 2)])
def test_gram_matrices_summed_in_the_pass_are_those_of_the_jacobians(widths, dtype):
    architecture, params, x, y = _stack(widths, {"activation": "relu", "bias": True}, dtype)
    below = range(1, architecture.depth)
    written = swept(architecture, params, x, 0.1, below, [])
    summed = swept(architecture, params, x, 0.1, [], [], Targets(y, "half"), below)
    assert written is not None and summed is not None and not summed.inputs
    for layer, rows in written.inputs.items():
        wanted = rows.double().mT @ rows.double()
        # rows in float32 have been scaled, and rounded by that
        within = 1e-13 if dtype == torch.float64 else 3e-7
        assert torch.equal(summed.grams[layer], summed.grams[layer].mT)
        _close(summed.grams[layer], wanted, within, layer)
        alone = swept(architecture, tuple(one[1:2] for one in params), x[1:2], 0.1, [], [], None, [layer])
        assert alone is not None and torch.equal(alone.grams[layer], summed.grams[layer][1:2])


OF_WAYS: list[tuple[tuple[int, ...], str]] = [
    ((5, 9, 7, 3), "relu"),
    ((5, 9, 7, 3), "tanh"),
    ((12, 6, 5, 3), "relu"),
    ((12, 6, 5, 3), "gelu"),
    ((6, 7, 4), "leaky_relu"),
    ((20, 30, 10), "relu"),
]
"""Networks whose outer products are summed at inputs, before activations, or before the last of them."""


@pytest.mark.parametrize("native", ["1", "0"])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 2e-5), (torch.float64, 1e-11)])
@pytest.mark.parametrize("block_elements", [agop.BLOCK_ELEMENTS, 5 * 9 * 7])
@pytest.mark.parametrize(("widths", "activation"), OF_WAYS)
def test_spectra_from_sums_are_those_of_the_factors(
    widths, activation, block_elements, dtype, within, native, monkeypatch
):
    """Of networks that are ordinary, ill-conditioned, pass nothing, are not finite, tiny and huge."""
    architecture, params, x, _ = _stack(widths, {"activation": activation}, dtype, lanes=6)
    params[0][0], params[1][1, 0, 0] = 0, torch.nan
    params[0][3] *= torch.logspace(0, -3 if dtype == torch.float32 else -6, widths[0], dtype=dtype)
    sizes = torch.tensor([1e-4, 1e4] if dtype == torch.float32 else [1e-40, 1e40], dtype=dtype)
    for weight in params:
        weight[4:] *= sizes[:, None, None]
    every = [*range(1, architecture.depth + 1)]
    monkeypatch.setenv(SWITCH, native)
    found = agop.sweep(architecture, params, x, every, [], block_elements)
    factors = agop.agop_factors(architecture, params, x, every, block_elements)
    for layer, wanted in agop.agop_spectra(architecture, factors, x.shape[1]).items():
        one = found.spectra[layer]
        assert one.finite.tolist() == wanted.finite.tolist() and torch.equal(one.rank, wanted.rank), layer
        ordinary = one.finite & (one.rank > 0)
        # tanh passes nothing at huge weights
        assert ordinary[2:5].all()
        for exponent in (1 / 3, 1.0):
            same = [each.relative_matrix(exponent)[ordinary] for each in (one, wanted)]
            torch.testing.assert_close(*same, rtol=0, atol=within)
    alone = agop.sweep(architecture, tuple(one[2:] for one in params), x[2:], every, [], block_elements)
    for layer in every:
        for one, other in zip(alone.spectra[layer], found.spectra[layer], strict=True):
            assert torch.equal(one, other[2:]), layer


def test_ways_are_found_by_counting():
    """Multiply-adds of the shapes that sweeps have, and of networks that are wider at one side."""
    ways = {
        ((32, 64, 64, 4), 1): "inputs",
        ((32, 64, 64, 4), 2): "inputs",
        ((32, 128, 128, 10), 2): "units",
        ((128, 512, 512, 512, 4), 1): "inputs",
        ((128, 512, 512, 512, 4), 3): "units",
        ((784, 64, 64, 10), 1): "units",
        ((64, 256, 10), 1): "inputs",
        ((64, 128, 10), 1): "units",
        ((10, 16, 16, 4), 1): "inputs",
        ((8, 64, 1), 1): "inputs",
    }
    for (widths, layer), wanted in ways.items():
        assert agop_ways.way(widths, layer, 256, halves=True, single=True) == wanted, (widths, layer)
    # no Jacobian: half of a square of the units for each sample, in double
    counted = agop_ways.operations((4, 10, 3), 1, 1000, single=True)[agop_ways.UNITS]
    assert counted == 2 * (1000 * 10 * 11 / 2 + 2 * 10 * 4 * 14 + 10 * 4**3)
    # the model of costs goes the same way, and Jacobians down to the units above alone
    units = agop_ways.operations((784, 64, 32, 10), 1, 256)[agop_ways.UNITS]
    assert cost.agop_flops((784, 64, 32, 10), [1], 256) == 2 * 256 * 10 * 64 * 32 + int(2 * units)


@pytest.mark.parametrize("loss", ["sum", "mse", "huber", "cross_entropy", "logistic"])
def test_every_loss_has_its_gradient(loss):
    architecture, params, x, y = _stack((5, 9, 7, 3), {"activation": "relu"}, torch.float64)
    y = y.softmax(-1) if loss == "cross_entropy" else y.sigmoid()
    y = torch.cat([y, torch.full_like(y[..., :1], 0.3)], -1) if loss == "huber" else y
    found = swept(architecture, params, x, 1.0, [1], [], Targets(y, loss))
    assert found is not None
    for one, other in zip(found.gradients, gradients(architecture, params, x, y, loss_of(loss)), strict=True):
        _close(one, other, 1e-12, loss)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_has_the_same_bits_alone_and_beside_one_without_finite_numbers(dtype):
    architecture, params, x, y = _stack((5, 9, 7, 3), {"activation": "gelu", "bias": True}, dtype)
    params[0][0], x[1, 3] = torch.inf, torch.nan
    together = swept(architecture, params, x, 0.1, [1, 2], [1], Targets(y, "half"))
    alone = swept(architecture, tuple(one[2:] for one in params), x[2:], 0.1, [1, 2], [1], Targets(y[2:], "half"))
    assert together is not None and alone is not None
    pairs = [(together.outputs, alone.outputs), *zip(together.gradients, alone.gradients, strict=True)]
    pairs += [(together.inputs[layer], alone.inputs[layer]) for layer in (1, 2)]
    for one, other in pairs:
        assert torch.equal(one[2:], other) and other.isfinite().all()
    assert not any(one[:2].isfinite().flatten(1).all(1).any() for one in (together.outputs, together.inputs[1]))


def test_what_the_code_does_not_know_is_left_to_the_tensor_library():
    for kind, widths in (({"activation": "erf"}, (3, 4, 2)), ({"activation": "relu"}, (3, 1000, 2))):
        architecture, params, x, _ = _stack(widths, kind, torch.float64, samples=2)
        assert swept(architecture, params, x, 1.0, [1], []) is None
    architecture, params, x, y = _stack((3, 4, 2), {"activation": "relu"}, torch.float64)
    assert swept(architecture, params, x, 1.0, [1], [], Targets(y, "a loss of its own")) is None
    with pytest.raises(ValueError, match="received an array"):
        swept(architecture, (params[0], params[0]), x, 1.0, [1], [])
