"""Gradient flow of residual networks, convolution nets and transformers, against SciPy's solver on modules of torch."""

from typing import Any

import graph_reference
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from nfa_kernels.data import make_data
from nfa_kernels.graphs.graph import Input
from nfa_kernels.graphs.named import layers_of
from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.blocks import Lane, Stack
from workers.kept_weights import decoded
from workers.training import train

DECAY, HORIZON = 0.2, 0.2
IMAGES = {"kind": "conv_teacher", "samples": 6, "channels": 1, "size": 4, "patch": 2, "outputs": 2, "test_samples": 0}
TOKENS = {"kind": "modular_addition", "modulus": 3, "encoding": "tokens"}
ROWS = {"samples": 6, "inputs": 3, "outputs": 2, "spectrum": [2, 1]}
KINDS: dict[str, tuple[dict[str, Any], Input, dict[str, Any]]] = {
    "resmlp": (ROWS, Input((3,)), {"depth": 3, "width": 4, "activation": "tanh", "norm": "layer", "bias": True}),
    "convnet": (IMAGES, Input((1, 4, 4)), {"depth": 3, "channels": 3, "kernel": 3, "activation": "gelu"}),
    "transformer": (TOKENS, Input((2,), 3), {"depth": 1, "width": 4, "heads": 2, "mlp_width": 5, "norm": "rms"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_flow_of_every_kind_is_that_of_a_solver_of_ordinary_differential_equations(kind):
    data, of, network = KINDS[kind]
    document = {
        "data": {**data, "seed": 5},
        "network": {"kind": kind, **network},
        "training": {"optimizer": "gradient_flow", "horizon": HORIZON, "rtol": 1e-8, "atol": 1e-10}
        | {"weight_decay": DECAY, "decay_biases": False},
        "measure": {"points": 2, "weights": [0, 2], "metrics": ["train_loss"]},
    }
    settings = canonical(TrialSettings.model_validate(document))
    settings["measure"]["layers"] = [1]
    blocks = list(train(Stack((Lane(settings, 1),))))
    times = [time for block in blocks for time in block.network["time"].to_pylist()]
    assert times[0] == 0 and times[-1] == HORIZON
    begun, ended = ([*decoded(file)[0].values()] for block in blocks for _, _, file in block.weights)
    made = make_data(
        settings["data"]["kind"], 5, **{k: v for k, v in settings["data"].items() if k not in ("kind", "seed")}
    )
    x = made.x.long() if of.vocabulary else made.x
    module = graph_reference.reference(layers_of(kind, network, of), x, made.y.shape[1], of.vocabulary)
    parameters = [*module.parameters()]
    # biases and gains do not decay
    decays = np.concatenate([np.full(array.size, DECAY if array.ndim > 1 else 0.0) for array in begun])

    def slope(_: float, flat: np.ndarray) -> np.ndarray:
        parts = torch.tensor(flat).split([one.numel() for one in parameters])
        graph_reference.load(module, [*parts])
        loss = 0.5 * (module(x) - made.y).square().sum(1).mean()
        gradients: tuple[Tensor, ...] = torch.autograd.grad(loss, parameters)
        return -np.concatenate([one.flatten().numpy() for one in gradients]) - decays * flat

    start = np.concatenate([array.ravel() for array in begun])
    wanted = solve_ivp(slope, (0, HORIZON), start, "DOP853", rtol=1e-8, atol=1e-10).y[:, -1]
    found = np.concatenate([array.ravel() for array in ended])
    assert np.abs(found - start).max() > 0.01
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)
