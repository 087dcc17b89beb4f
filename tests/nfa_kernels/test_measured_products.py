"""Products of matrices that compiled code measures in one call: as the tensor library does, whatever else is asked."""

import pytest
import torch
from builders import data, stacked
from compilers import needs_compiler

from nfa_kernels import measured_products, names
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.native.compiling import SWITCH
from nfa_kernels.networks import Architecture

pytestmark = needs_compiler
LANES = 5
WIDTHS = [(6, 8, 5, 3), (32, 64, 64, 4), (9, 3, 7, 3), (4, 4), (17, 40, 16), (5, 30, 1)]


def _measured(architecture, weights, request, loss="half", *, shared=False, lanes=slice(None)):
    """Of some lanes, with a test set; data of their own, or one set for all."""
    (x, y), (x_test, y_test) = (data(LANES, n, architecture.widths[0], architecture.widths[-1]) for n in (60, 7))
    if shared:
        x, y = (part[:1].expand(LANES, *part.shape[1:]) for part in (x, y))
    prepared = measured_data(architecture, x, y, x_test, y_test, loss).select(lanes)
    return measure(architecture, tuple(weight[lanes] for weight in weights), prepared, request, loss)


def _columns(found):
    """Name -> (K,) of everything measured."""
    columns = dict(found.network)
    columns |= {f"{name}[{n}]": values for n, of_layer in found.layers.items() for name, values in of_layer.items()}
    return columns | {f"{name}[{n}]": values for n, name, values in found.parametrised}


def _asked(widths, *more, exponents=(0.3,)):
    return Request((*names.DEFAULT_METRICS, *more), tuple(range(1, len(widths))), exponents)


def _without_views(monkeypatch):
    """Fail where anything but compiled code measures."""

    def refused(*_):
        raise AssertionError("measured by the tensor library")

    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr("nfa_kernels.metrics._by_views", refused)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("parameterization", ["standard", "mup"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_what_one_call_finds_is_what_the_tensor_library_finds(widths, parameterization, dtype, monkeypatch):
    architecture = Architecture(widths, parameterization=parameterization)
    weights = tuple(weight.to(dtype) for weight in stacked("he", widths, range(LANES)))
    loss = "mse" if widths[-1] == 3 else "half"
    monkeypatch.setenv(SWITCH, "0")
    theirs = _columns(_measured(architecture, weights, _asked(widths, "generalisation_gap"), loss))
    _without_views(monkeypatch)
    ours = _columns(_measured(architecture, weights, _asked(widths, "generalisation_gap"), loss))
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        # a residual that is rounding has none of its own digits
        rtol = 1e-9 if "best_exponent" in name else 1e-13
        torch.testing.assert_close(
            ours[name], values, rtol=rtol, atol=1e-13, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("shared", [False, True])
def test_a_network_is_measured_to_the_same_bits_alone_and_whatever_else_is_asked_for(shared, monkeypatch):
    architecture = Architecture((32, 64, 64, 4))
    weights = stacked("he", architecture.widths, range(LANES))
    _without_views(monkeypatch)
    whole = _columns(_measured(architecture, weights, _asked(architecture.widths), shared=shared))
    for lane in range(LANES):
        alone = _measured(architecture, weights, _asked(architecture.widths), shared=shared, lanes=torch.tensor([lane]))
        for name, values in _columns(alone).items():
            assert torch.equal(values.nan_to_num(), whole[name][lane : lane + 1].nan_to_num()), name
    for metric in names.DEFAULT_METRICS:
        for name, values in _columns(_measured(architecture, weights, Request((metric,), (1,)), shared=shared)).items():
            assert torch.equal(values.nan_to_num(), whole[name].nan_to_num()), name


def test_networks_that_are_not_ordinary_are_measured_as_ever_and_disturb_no_other(monkeypatch):
    architecture = Architecture((6, 8, 5, 3))
    weights = stacked("he", architecture.widths, range(LANES))
    _without_views(monkeypatch)
    before = _columns(_measured(architecture, weights, _asked(architecture.widths)))
    monkeypatch.undo()
    monkeypatch.setenv(SWITCH, "1")
    weights[1][0, 0, 0], weights[2][1] = torch.nan, 0.0
    weights[0][2] *= 1e-80
    lanes = []
    found_by = measured_products.product_metrics
    monkeypatch.setattr(measured_products, "product_metrics", lambda *of: lanes.append(found_by(*of)) or lanes[-1])
    after = _columns(_measured(architecture, weights, _asked(architecture.widths)))
    assert [found.others for found in lanes] == [[0, 1, 2]]
    monkeypatch.setenv(SWITCH, "0")
    alone = _columns(_measured(architecture, weights, _asked(architecture.widths), lanes=torch.tensor([0, 1, 2])))
    for name, values in after.items():
        assert torch.equal(values[3:].nan_to_num(), before[name][3:].nan_to_num()), name
        torch.testing.assert_close(values[:3], alone[name], rtol=1e-12, atol=1e-13, equal_nan=True)
    assert after["train_loss"][0].isnan() and after["alignment[1]"][1].isnan() and after["alignment[1]"][2] > 0


def test_what_compiled_code_does_not_know_stands_beside_what_it_finds(monkeypatch):
    architecture = Architecture((6, 8, 5, 3))
    weights = stacked("he", architecture.widths, range(LANES))
    request = _asked(architecture.widths, "pearson", "agop_singular_value@1", "alignment@0.7")
    monkeypatch.setenv(SWITCH, "0")
    theirs = _columns(_measured(architecture, weights, request))
    monkeypatch.setenv(SWITCH, "1")
    ours = _columns(_measured(architecture, weights, request))
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        torch.testing.assert_close(ours[name], values, rtol=1e-9, atol=1e-13, equal_nan=True)
    with pytest.raises(ValueError, match="unheard"):
        _measured(architecture, weights, Request(("train_loss", "unheard"), (1,)))
    with pytest.raises(ValueError, match="exponent"):
        _measured(architecture, weights, Request(("train_loss",), (1,), (-1.0,)))
