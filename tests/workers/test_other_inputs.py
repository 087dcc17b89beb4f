"""Metrics of the AGOP over other inputs than the training set, for every kind of network."""

from typing import Any

import numpy as np
import pytest
import torch

from nfa_kernels import names
from nfa_kernels.metrics import FAMILIES, LAYER_METRICS, Request, needs
from nfa_kernels.random_streams import normal, stream
from service.grid.expansion import expand
from workers.blocks import Again, Lane, Stack
from workers.remeasuring import remeasure
from workers.training import train

KINDS = {
    "linear": {"network": {"depth": 2, "width": 4}},
    "tanh": {"network": {"depth": 3, "width": 5, "activation": "tanh"}},
    "resmlp": {"network": {"kind": "resmlp", "depth": 2, "width": 6}},
    "convnet": {
        "data": {"kind": "digits", "layout": "image", "samples": 30, "test_samples": 12},
        "network": {"kind": "convnet", "depth": 2, "channels": 3},
    },
    "transformer": {
        "data": {"kind": "modular_addition", "modulus": 5, "fraction": 0.6, "encoding": "tokens"},
        "network": {"kind": "transformer", "depth": 1, "width": 8, "heads": 2},
    },
}
DATA = {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1], "test_samples": 9}
ASKED = ("alignment", "agop_norm", "best_exponent", "agop_singular_value@1")


def _settings(kind, inputs, datasets=None):
    trial: dict[str, Any] = {
        "data": DATA,
        "training": {"steps": 6, "learning_rate": 0.01},
        "measure": {
            **{"steps": [0, 6], "metrics": list(ASKED), "layers": "all", "exponents": [0.3], "weights": [6]},
            "inputs": inputs,
        },
    } | KINDS[kind]
    expansion = expand({"name": "inputs", "trial": trial}, datasets=datasets)
    return expansion.points[0].settings


def _trained(settings, arrays=None, seeds=(0, 1)):
    stack = Stack(tuple(Lane(settings, seed) for seed in seeds), arrays or {})
    blocks = list(train(stack))
    values = {}
    for block in blocks:
        for row in block.parametrised.to_pylist():
            values[row["name"], row["lane"], row["step"], row["layer"]] = row["value"]
        for row in block.layers.to_pylist():
            for name in set(row) - {"lane", "step", "layer"}:
                values[name, row["lane"], row["step"], row["layer"]] = row[name]
    return values, [kept for block in blocks for kept in block.weights]


def _inputs(kind):
    return ["test"] if kind == "transformer" else ["test", {"probes": 7, "seed": 3, "scale": 0.5}]


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_over_other_inputs_stand_beside_those_of_the_training_set_which_stay(kind):
    plain, _ = _trained(_settings(kind, []))
    values, _ = _trained(_settings(kind, _inputs(kind)))
    assert {key: value for key, value in values.items() if "/" not in key[0]} == pytest.approx(plain, nan_ok=True)
    ids = {key[0].partition("/")[2] for key in values} - {""}
    assert ids == ({"test"} if kind == "transformer" else {"test", "probes-7-3-0.5"})
    for one in ids:
        own = {key[0] for key in values if key[0].endswith(f"/{one}")}
        assert own == {f"{name}/{one}" for name in (*ASKED, "alignment@0.3")}
        same = [values[f"alignment/{one}", *key[1:]] == plain[key] for key in plain if key[0] == "alignment"]
        # of a linear network the Jacobian is the same everywhere
        assert all(same) if kind == "linear" else not all(same)


@pytest.mark.parametrize("kind", KINDS)
def test_kept_weights_measured_over_other_inputs_give_what_training_measured(kind):
    settings = _settings(kind, _inputs(kind))
    values, kept = _trained(settings)
    lanes = tuple(Lane(settings, lane, kept=((step, file),)) for lane, step, file in sorted(kept))
    inputs = tuple(settings["measure"]["inputs"])
    [block] = remeasure(Stack(lanes, {}, Again(ASKED, tuple(settings["measure"]["layers"]), (0.3,), inputs)))
    found = {
        (row["name"], row["lane"], row["step"], row["layer"]): row["value"] for row in block.parametrised.to_pylist()
    }
    wanted = {key: value for key, value in values.items() if "/" in key[0] and key[2] == 6}
    assert found == pytest.approx(wanted, rel=1e-10, nan_ok=True)
    assert block.layers.num_rows == 0, "nothing was asked about the training set"


def test_probes_are_gaussian_and_an_upload_is_taken_as_it_is():
    """An upload that holds the probes gives the same numbers; and the numbers are those of training on it."""
    x = (0.5 * normal((7, 4), stream("probes", 3))).numpy()
    id_ = "a" * 64
    shapes = {id_: {"x": (7, 4)}}
    inputs = [{"probes": 7, "seed": 3, "scale": 0.5}, {"dataset": id_}]
    values, _ = _trained(_settings("tanh", inputs, shapes), {id_: {"x": x}})
    probes = {key: value for key, value in values.items() if key[0].endswith("/probes-7-3-0.5")}
    assert len(probes) > 0
    for (name, *key), value in probes.items():
        other = f"{name.partition('/')[0]}/data-{id_}"
        assert values[other, *key] == value
    assert np.isclose(torch.as_tensor(x).std().item(), 0.5, rtol=0.5)


def test_only_metrics_that_read_jacobians_may_be_taken_on_inputs():
    reading = set()
    for name in LAYER_METRICS:
        found = needs(Request((name,), (1,)))
        reading |= {name} if found.agop or found.preactivations else set()
    assert reading | (set(FAMILIES) - {"alignment"}) == names.ON_INPUTS
    assert not any(names.takes_inputs(name) for name in names.NETWORK_METRICS)
