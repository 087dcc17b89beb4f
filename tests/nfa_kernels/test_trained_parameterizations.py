"""Convolution nets and transformers under mup and ntk, against modules of torch with factors written out by hand."""

import math
from typing import Any

import graph_reference
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nfa_kernels.data import make_data
from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.blocks import Lane, Stack
from workers.kept_weights import decoded
from workers.training import train

STEPS, RATE = 8, 0.03
IMAGES = {"kind": "conv_teacher", "samples": 12, "channels": 2, "size": 4, "patch": 2, "outputs": 3, "test_samples": 0}
TOKENS = {"kind": "modular_addition", "modulus": 4, "encoding": "tokens"}
CONVNET = {"kind": "convnet", "depth": 3, "channels": 5, "kernel": 3, "activation": "tanh", "bias": True}
CONVNET |= {"norm": "layer"}
TRANSFORMER = {"kind": "transformer", "depth": 1, "width": 6, "heads": 2, "mlp_width": 8, "activation": "tanh"}
CONV_LAYERS: list[Any] = [
    *[{"conv": {"channels": 5, "kernel": 3, "bias": True}}, {"norm": "layer"}, "tanh"] * 2,
    {"pool": "global"},
    {"linear": {"bias": True}},
]
ATTENTION_LAYERS: list[Any] = [
    *({"embedding": 6}, {"positions": "learned"}, {"residual": [{"norm": "layer"}, {"attention": {"heads": 2}}]}),
    {"residual": [{"norm": "layer"}, {"linear": 8}, "tanh", {"linear": 6}]},
    *({"norm": "layer"}, {"readout": "mean"}, {"linear": {}}),
]
# (times the draw of lecun, c, rate of gd, rate of adam) of every parameter in forward order; a gain or bias of n
# numbers has the rate n under gd
CONV_MUP = [
    *((5**-0.5, 5**0.5, 1, 5**-0.5), (1, 1, 5, 1), (1, 1, 5, 1), (1, 1, 5, 1)),
    *((1, 1, 1, 1 / 45), (1, 1, 5, 1), (1, 1, 5, 1), (1, 1, 5, 1)),
    *((1, 5**-0.5, 1, 5**-0.5), (1, 1, 1, 1)),
]
ATTENTION_MUP = [
    *((1, 6**0.5, 1, 6**-0.5), (1, 6**0.5, 1, 6**-0.5)),
    *((1, 1, 6, 1), (1, 1, 6, 1), *[(1, 1, 1, 1 / 6)] * 4),
    *((1, 1, 6, 1), (1, 1, 6, 1), (1, 1, 1, 1 / 6), (1, 1, 1, 1 / 8)),
    *((1, 1, 6, 1), (1, 1, 6, 1), (1, 6**-0.5, 1, 6**-0.5)),
]
CONV_NTK = [(1, 18**-0.5, 1, 1), *[(1, 1, 1, 1)] * 3, (1, 45**-0.5, 1, 1), *[(1, 1, 1, 1)] * 3]
CONV_NTK += [(1, 5**-0.5, 1, 1), (1, 1, 1, 1)]
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[Any], list[Any]]] = {
    "convnet-mup": (IMAGES, {**CONVNET, "parameterization": "mup"}, CONV_LAYERS, CONV_MUP),
    "convnet-ntk": (IMAGES, {**CONVNET, "parameterization": "ntk"}, CONV_LAYERS, CONV_NTK),
    "transformer-mup": (TOKENS, {**TRANSFORMER, "parameterization": "mup"}, ATTENTION_LAYERS, ATTENTION_MUP),
}


class Times(nn.Module):
    """A parameter times a constant."""

    def __init__(self, c: float) -> None:
        super().__init__()
        self.c = c

    def forward(self, array: Tensor) -> Tensor:
        return self.c * array


class OverWidth(graph_reference.Attending):
    """Attention whose scores are divided by the width of a head: torch's own divide by its root."""

    def forward(self, x: Tensor) -> Tensor:
        queries = self.query(x) / math.sqrt(x.shape[-1] // self.heads)
        found = [queries, self.key(x), self.value(x)]
        query, key, value = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in found)
        found = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.output(found.transpose(1, 2).flatten(2))


def _kept(lane: Lane) -> dict[int, list[Tensor]]:
    """Parameters by step, in forward order."""
    kept = [of for block in train(Stack((lane,))) for of in block.weights]
    return {step: [torch.tensor(array) for array in decoded(file)[0].values()] for _, step, file in kept}


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
@pytest.mark.parametrize("case", CASES)
def test_training_equals_modules_with_the_factors_of_every_parameter_written_by_hand(case, optimizer):
    data, network, layers, factors = CASES[case]
    document = {
        "data": {**data, "seed": 5},
        "network": network,
        "init": {"scheme": "lecun"},
        "training": {"optimizer": optimizer, "learning_rate": RATE, "steps": STEPS},
        "measure": {"points": 2, "weights": [0, STEPS], "metrics": ["train_loss"]},
    }
    settings = canonical(TrialSettings.model_validate(document))
    settings["measure"]["layers"] = [1]
    kept = _kept(Lane(settings, 1))
    plain = {**settings, "network": {**settings["network"], "parameterization": "standard"}}
    standard = _kept(Lane(plain, 1))
    made = make_data(data["kind"], 5, **{k: v for k, v in settings["data"].items() if k not in ("kind", "seed")})
    x = made.x.long() if data is TOKENS else made.x
    module = graph_reference.reference(layers, x, made.y.shape[1], 4 if data is TOKENS else 0)
    parameters = [*module.named_parameters()]
    for (draw, *_), begun, drawn in zip(factors, kept[0], standard[0], strict=True):
        torch.testing.assert_close(begun, draw * drawn, rtol=1e-14, atol=0)
    graph_reference.load(module, kept[0])
    groups = []
    for (name, parameter), (_, c, of_gd, of_adam) in zip(parameters, factors, strict=True):
        owner, _, kind = name.rpartition(".")
        parametrize.register_parametrization(module.get_submodule(owner), kind, Times(c))
        groups.append({"params": [parameter], "lr": RATE * (of_adam if optimizer == "adam" else of_gd)})
    for one in module.modules():
        if isinstance(one, graph_reference.Attending):
            one.__class__ = OverWidth
    by_torch = torch.optim.Adam(groups, eps=1e-8) if optimizer == "adam" else torch.optim.SGD(groups)
    for _ in range(STEPS):
        by_torch.zero_grad()
        (0.5 * (module(x) - made.y).square().sum(1).mean()).backward()
        by_torch.step()
    for (_, parameter), found in zip(parameters, kept[STEPS], strict=True):
        np.testing.assert_allclose(found.reshape(parameter.shape), parameter.detach(), rtol=1e-9, atol=1e-11)
