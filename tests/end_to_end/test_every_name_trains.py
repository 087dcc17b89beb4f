"""Whatever a grid may name can be trained: no trial fails because a name is known to one side alone."""

import itertools
from typing import Any

import pytest

from nfa_kernels import names
from service.grid.expansion import expand
from workers.blocks import Lane, Stack
from workers.training import train

NETWORKS = [
    {"activation": activation, "bias": bias, "parameterization": parameterization}
    for activation, bias, parameterization in itertools.product(
        ("linear", "relu"), (False, True), names.PARAMETERIZATIONS
    )
]
BATCHES = {"never": {}, "optional": {}, "required": {"batch_size": 20}}
IMAGES = {"kind": "digits", "layout": "image", "samples": 12, "test_samples": 4}
TOKENS = {"kind": "modular_addition", "encoding": "tokens", "modulus": 7}
BLOCK = [{"norm": "rms"}, {"conv": {"channels": 4, "kernel": 3, "name": "inner"}}, "tanh"]
LAYERS = [
    {"conv": {"channels": 4, "kernel": 3, "name": "c1"}},
    *({"residual": BLOCK}, {"pool": {"kind": "max", "size": 2}}, "flatten", {"linear": {"name": "head", "bias": True}}),
]
KINDS: dict[str, dict[str, Any]] = {
    "resmlp": {"network": {"kind": "resmlp", "width": 6, "activation": "relu"}},
    "convnet": {"network": {"kind": "convnet", "channels": 3, "activation": "gelu"}, "data": IMAGES},
    "transformer": {"network": {"kind": "transformer", "depth": 1, "width": 4, "heads": 2}, "data": TOKENS},
    "graph": {"network": {"kind": "graph", "layers": LAYERS}, "data": IMAGES},
}
EVERYTHING = {"measure": {"layers": "all", "metrics": "all", "points": 3, "exponents": [0.3]}}
ADAM, FLOW = (
    {"optimizer": "adam", "dtype": "float32"},
    {"optimizer": "gradient_flow", "horizon": 0.001, "rtol": 1e-4, "atol": 1e-6},
)
BLOCKS: list[dict[str, Any]] = [
    *({**kind, **EVERYTHING} for kind in KINDS.values()),
    *({**kind, "training": training} for kind in KINDS.values() for training in (ADAM, FLOW)),
    *(
        {**kind, "network": {**kind["network"], "parameterization": name}, "training": training}
        for kind in KINDS.values()
        for name in names.PARAMETERIZATIONS
        for training in (ADAM, FLOW)
        if name != "standard" and (name == "mup" or training is ADAM)
    ),
    *(
        {**KINDS["transformer"], "training": {"optimizer": n, **BATCHES[o.minibatches], "weight_decay": 0.1}}
        for n, o in names.OPTIMIZERS.items()
        if n != "gradient_flow"
    ),
    *({**KINDS["graph"], "training": {"optimizer": name}} for name in ("muon", "lion")),
    *({**KINDS["graph"], "init": {"scheme": name}} for name in names.GRAPH_SCHEMES if name != "given"),
    *({"network": {**KINDS["resmlp"]["network"], "norm": name, "skip": False}} for name in names.NORMS),
    *(
        {"network": {"kind": "resmlp", "skip": False}, "init": {"scheme": name, "scale": 0.5}}
        for name in names.INITIALISATIONS
        if name not in names.GRAPH_SCHEMES
    ),
    {**KINDS["convnet"], "init": {"scheme": "neuron_balanced"}},
    {**KINDS["transformer"], "init": {"scheme": "layer_scales", "first": 2, "last": 0.5}},
    *(
        {"network": {"kind": "convnet", "channels": 3, "padding": one, "pool": two, "bias": True}, "data": IMAGES}
        for one, two in itertools.product(names.PADDINGS, names.POOLS)
    ),
    *(
        {
            "network": {**KINDS["transformer"]["network"], "positions": one, "readout": two, "causal": True},
            "data": TOKENS,
        }
        for one, two in itertools.product(names.POSITIONS, names.READOUTS)
    ),
    {**KINDS["transformer"], "training": {"loss": "cross_entropy", "layers": {"attention1": {"learning_rate": 0}}}},
    *({"network": {"activation": name}} for name in names.ACTIVATIONS),
    *({"network": network, "measure": {"layers": "all", "metrics": "all"}} for network in NETWORKS),
    *({"training": {"optimizer": n, **BATCHES[o.minibatches]}} for n, o in names.OPTIMIZERS.items()),
    *({"training": {"schedule": name}} for name in names.SCHEDULES),
    *({"training": {"loss": name}, "data": {"kind": "digits", "samples": 20}} for name in names.LOSSES),
    *({"data": {"kind": name}, "measure": {"metrics": "all"}} for name in names.DATA_KINDS if name != "uploaded"),
    *({"data": {"kind": "single_index", "link": name}} for name in names.LINKS),
    *({"data": {"kind": "conv_teacher", "samples": 9, "pooling": name}} for name in names.POOLINGS),
    *({"data": {"kind": "digits", "layout": name, "test_fraction": 0.1}} for name in names.LAYOUTS),
    *(
        {"data": {"kind": name, "standardise": False, "test_samples": 20}, "network": {"activation": "tanh"}}
        for name in names.TABLES
        if name != "digits"
    ),
    {"data": {"kind": "sparse_parity", "test_samples": 9}, "training": {"loss": "logistic"}},
    *({"training": {"dtype": name}} for name in names.DTYPES),
    *(
        {
            "network": {"parameterization": "mup", "bias": True, "activation": "tanh"},
            "training": {"optimizer": name, **BATCHES[rule.minibatches], "weight_decay": 0.1, "decay_biases": False},
        }
        for name, rule in names.OPTIMIZERS.items()
    ),
    {"training": {"layers": {"1": {"learning_rate": 0}, "3": {"weight_decay": 0.1}}, "dtype": "float32"}},
    {"data": {"kind": "wine"}, "training": {"loss": "cross_entropy", "label_smoothing": 0.1, "schedule": "cosine"}},
    *({"init": {"scheme": name}} for name in names.INITIALISATIONS if name != "given"),
    {"network": {"depth": 1}},
    {"training": {"optimizer": "sgd", "batch_size": 7, "batch_order": "cyclic"}},
    {"training": {"steps": 0}},
    {"training": {"stop": {"loss_below": 1e9}}},
    {"data": {"covariance": "whitened", "test_samples": 5}},
    {"data": {"covariance": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}},
    {"measure": {"exponents": [0.3, 2]}},
]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_what_a_grid_accepts_trains(block: dict[str, Any]) -> None:
    training = {"steps": 5, "learning_rate": 1e-7, **block.get("training", {})}
    point = expand({"trial": {**block, "training": training}}).points[0]
    stack = Stack((Lane(point.settings, 0), Lane(point.settings, 1)), {})
    ends = [end for part in train(stack) for end in part.ended]
    assert sorted((end.lane, end.state) for end in ends) == [(0, "completed"), (1, "completed")]
