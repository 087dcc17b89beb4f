"""Layers with rates and decays of their own, biases that do not decay, and mup, against torch's optimisers."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from nfa_kernels.parameterizations import initial_factors, layer_scalings, multipliers
from service.grid.canonical import canonical
from service.grid.stacking import stack_key
from service.grid.trial_settings import TrialSettings
from workers.blocks import Lane, Stack
from workers.kept_weights import decoded
from workers.training import train

DATA = {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1]}
STEPS = 12


def _lane(seed=0, network=None, measure=None, **training):
    document = {
        "data": DATA,
        "network": {"depth": 3, "width": 6, "activation": "tanh", "bias": True} | (network or {}),
        "init": {"scheme": "he", "scale": 0.5},
        "training": {"learning_rate": 0.03, "weight_decay": 0.1, "steps": STEPS} | training,
        "measure": {"steps": [0], "layers": "all", "weights": [0, STEPS], "metrics": ["fact_alignment"]}
        | (measure or {}),
    }
    if training.get("optimizer") == "gradient_flow":
        document["measure"] = {"points": 3, "layers": "all", "weights": [0, 2], "metrics": []}
        del document["training"]["learning_rate"], document["training"]["steps"]
    return Lane(canonical(TrialSettings.model_validate(document)), seed)


def _run(lanes):
    assert len({stack_key(lane.settings) for lane in lanes}) == 1
    blocks = list(train(Stack(tuple(lanes))))
    kept = {(lane, step): decoded(file)[0] for block in blocks for lane, step, file in block.weights}
    return kept, pa.Table.from_batches([block.layers for block in blocks])


TORCHS = {
    "gd": torch.optim.SGD,
    "momentum": lambda groups: torch.optim.SGD(groups, momentum=0.9),
    "adam": lambda groups: torch.optim.Adam(groups, eps=1e-8),
    "adamw": lambda groups: torch.optim.AdamW(groups, eps=1e-8),
}
OWN: dict[str, dict[str, Any]] = {
    "rates": {"layers": {"1": {"learning_rate": 0.08}, "3": {"learning_rate": 0.001}}},
    "frozen": {"layers": {"2": {"learning_rate": 0, "weight_decay": 0}}},
    "decays": {"layers": {"1": {"weight_decay": 0}, "2": {"weight_decay": 0.7}}},
    "biases": {"decay_biases": False},
    "all": {"layers": {"2": {"learning_rate": 0.1, "weight_decay": 0.3}}, "decay_biases": False},
    "none": {},
}


@pytest.mark.parametrize("parameterization", ["standard", "mup"])
@pytest.mark.parametrize("optimizer", TORCHS)
@pytest.mark.parametrize("own", OWN)
def test_training_equals_a_torch_loop_with_a_group_for_each_parameter(own, optimizer, parameterization):
    lane = _lane(optimizer=optimizer, network={"parameterization": parameterization}, **OWN[own])
    kept, _ = _run([lane])
    widths, settings = (5, 6, 6, 2), OWN[own]
    arrays = [torch.tensor(kept[0, 0][f"{kind}{layer}"]) for kind in "wb" for layer in (1, 2, 3)]
    parameters = [torch.nn.Parameter(array.clone()) for array in arrays]
    steps = "sign" if "adam" in optimizer else "gradient"
    groups = []
    scalings = layer_scalings(parameterization, widths, bias=True, steps=steps)
    for place, (parameter, scaling) in enumerate(zip(parameters, scalings, strict=True)):
        of_layer = settings.get("layers", {}).get(str(place % 3 + 1), {})
        decay = of_layer.get("weight_decay", 0.1)
        if place >= 3 and not settings.get("decay_biases", True):
            decay = 0.0
        rate = of_layer.get("learning_rate", 0.03) * scaling.rate
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    by_torch = TORCHS[optimizer](groups)
    data = _data(lane)
    constants = multipliers(parameterization, widths)
    for _ in range(STEPS):
        by_torch.zero_grad()
        hidden = data.x
        for layer in range(3):
            hidden = constants[layer] * hidden @ parameters[layer].T + parameters[3 + layer]
            hidden = torch.tanh(hidden) if layer < 2 else hidden
        (0.5 * (hidden - data.y).square().sum(1).mean()).backward()
        by_torch.step()
    for place, parameter in enumerate(parameters):
        found = kept[0, STEPS][f"{'wb'[place // 3]}{place % 3 + 1}"]
        np.testing.assert_allclose(found, parameter.detach().numpy(), rtol=1e-10, atol=1e-12)


def _data(lane):
    from nfa_kernels.data import make_data

    settings = {name: value for name, value in lane.settings["data"].items() if name not in ("kind", "seed")}
    return make_data("linear_teacher", lane.seed, **settings)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
@pytest.mark.parametrize("optimizer", ["gd", "adam", "muon", "sgd"])
def test_layers_of_a_stack_may_differ_and_each_network_is_as_it_is_alone(optimizer, activation):
    more = {"batch_size": 7} if optimizer == "sgd" else {}
    owns = [OWN["rates"], OWN["decays"], OWN["all"], OWN["frozen"]]
    network = {"activation": activation, "bias": True}
    lanes = [_lane(seed, network, optimizer=optimizer, **more, **own) for seed, own in enumerate(owns)]
    together, _ = _run(lanes)
    for index, lane in enumerate(lanes):
        alone, _ = _run([lane])
        for name, array in alone[0, STEPS].items():
            if torch.backends.mkl.is_available():  # only MKL promises the same bits
                assert np.array_equal(together[index, STEPS][name], array), name
            np.testing.assert_allclose(together[index, STEPS][name], array, rtol=1e-12, atol=1e-14)


def test_a_linear_network_with_rates_of_its_own_is_as_a_nonlinear_path_would_have_it():
    plain, own = (
        _run([_lane(network={"activation": "linear", "bias": False}, **more)])[0][0, STEPS]
        for more in ({}, {"layers": {"1": {"learning_rate": 0.03}, "2": {"weight_decay": 0.1 + 1e-15}}})
    )
    for name, array in plain.items():
        np.testing.assert_allclose(own[name], array, rtol=1e-11, atol=1e-13)


def test_a_frozen_layer_stays_as_it_began():
    kept, _ = _run([_lane(**OWN["frozen"])])
    assert np.array_equal(kept[0, 0]["w2"], kept[0, STEPS]["w2"]) and np.array_equal(kept[0, STEPS]["b2"], np.zeros(6))
    assert not np.array_equal(kept[0, 0]["w1"], kept[0, STEPS]["w1"])


def test_features_at_convergence_are_undefined_for_the_layers_that_do_not_decay():
    _, rows = _run([_lane(weight_decay=0.0, layers={"2": {"weight_decay": 0.1}})])
    last = rows.filter(pc.field("step") == STEPS).sort_by("layer")["fact_alignment"].to_pylist()
    assert np.isnan(last[0]) and np.isfinite(last[1]) and np.isnan(last[2])


def test_gradient_flow_knows_decays_of_layers_and_biases():
    arrays = {"zeros": {"x": np.zeros((4, 5)), "y": np.zeros((4, 2))}}
    lane = _lane(optimizer="gradient_flow", horizon=2.0, layers={"2": {"weight_decay": 0.5}}, decay_biases=False)
    settings = {**lane.settings, "data": {"kind": "uploaded", "dataset_id": "zeros"}}
    blocks = list(train(Stack((Lane(settings, 0), Lane(settings, 1)), arrays)))
    kept = {(lane, step): decoded(file)[0] for block in blocks for lane, step, file in block.weights}
    for layer, decay in ((1, 0.1), (2, 0.5), (3, 0.1)):
        wanted = np.exp(-2 * decay) * kept[1, 0][f"w{layer}"]
        np.testing.assert_allclose(kept[1, 2][f"w{layer}"], wanted, rtol=1e-8)


def test_gradient_flow_of_mup_conserves_the_balance_of_a_linear_network():
    network = {"activation": "linear", "bias": False, "parameterization": "mup"}
    kept, _ = _run([_lane(network=network, optimizer="gradient_flow", horizon=3.0, weight_decay=0.0)])
    before, after = kept[0, 0], kept[0, 2]
    assert not np.allclose(before["w1"], after["w1"], rtol=1e-3)
    for layer in (1, 2):
        lower, upper = f"w{layer}", f"w{layer + 1}"
        imbalance = [of[upper].T @ of[upper] - of[lower] @ of[lower].T for of in (before, after)]
        np.testing.assert_allclose(imbalance[1], imbalance[0], rtol=0, atol=1e-8)


def test_mup_scales_what_a_scheme_draws():
    standard, mup = (_run([_lane(network={"parameterization": name})])[0][0, 0] for name in ("standard", "mup"))
    factors = initial_factors("mup", "he", (5, 6, 6, 2))
    for layer, factor in enumerate(factors, start=1):
        np.testing.assert_allclose(mup[f"w{layer}"], factor * standard[f"w{layer}"], rtol=1e-15)


def test_float32_weights_that_decay_by_numbers_of_their_own_are_wide():
    exact, single = (
        _run([_lane(dtype=dtype, weight_decay=0.0, layers={"1": {"weight_decay": 1e-6}}, learning_rate=1e-3, steps=400,
                    measure={"weights": [0, 400]})])[0]
        for dtype in ("float64", "float32")
    )  # fmt: skip
    np.testing.assert_allclose(single[0, 400]["w1"], exact[0, 400]["w1"], rtol=2e-5, atol=1e-6)
