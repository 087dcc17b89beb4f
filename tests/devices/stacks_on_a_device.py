"""Small stacks of every kind that are about to be trained on a device that is not there."""

from collections.abc import Sequence
from typing import Any

import torch
from absent_gpu import AbsentGPU

from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.blocks import Lane, Stack
from workers.motion import motion
from workers.network_data import TrainingSet
from workers.preparing import initial_weights, prepared

VECTORS = {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1], "test_samples": 5}
MEASURE = {"points": 2, "layers": [1], "metrics": ["train_loss", "test_loss", "alignment", "c_nfa"]}
BATCHES = {"optimizer": "sgd", "batch_size": 7}
NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "resmlp": (VECTORS, {"depth": 3, "width": 6, "activation": "gelu", "norm": "layer"}),
    "convnet": (
        {"kind": "digits", "samples": 12, "layout": "image"},
        {"depth": 2, "channels": 3, "kernel": 3, "stride": 2},
    ),
    "transformer": (
        {"kind": "modular_addition", "modulus": 4, "encoding": "tokens"},
        {"depth": 1, "width": 4, "heads": 2, "mlp_width": 6, "norm": "rms"},
    ),
}


def settings_of(network: dict[str, Any] | None = None, data: Any = None, measure: Any = None, **training: Any) -> Any:
    """Canonical settings of a trial of twelve steps, or of a gradient flow."""
    length = {} if training.get("optimizer") == "gradient_flow" else {"steps": 12}
    document = {
        "data": data or VECTORS,
        "network": network or {"depth": 3, "width": 6},
        "training": {"learning_rate": 0.02, **length, **training}
        if length
        else {"rtol": 1e-4, "atol": 1e-6, **training},
        "measure": MEASURE | (measure or {}),
    }
    return canonical(TrialSettings.model_validate(document))


def moving(settings: Any, lanes: int) -> Any:
    """Networks with the same settings that are about to do their first step on the device."""
    return moving_together([settings] * lanes)


def moving_together(lanes: Sequence[Any]) -> Any:
    """Networks with these settings."""
    first, device = lanes[0], AbsentGPU.device
    stack = Stack(tuple(Lane(settings, seed) for seed, settings in enumerate(lanes)))
    ready = prepared(stack, device, first["measure"]["metrics"])
    of = TrainingSet(ready.x, ready.y, first["training"], range(len(lanes)), getattr(torch, first["training"]["dtype"]))
    trainings = [settings["training"] for settings in lanes]
    return motion(initial_weights(stack, ready.network, device), ready.network.training_data(of), first, trainings)


STEPPED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a product": ({"depth": 3, "width": 6}, {"weight_decay": 0.1}),
    "a product on minibatches": ({"depth": 3, "width": 6}, BATCHES),
    "relu": ({"depth": 3, "width": 6, "activation": "relu", "bias": True}, {"optimizer": "momentum"}),
    "tanh on minibatches": ({"depth": 3, "width": 6, "activation": "tanh"}, {**BATCHES, "optimizer": "adam"}),
    "wider than its batch": ({"depth": 3, "width": 60, "activation": "relu"}, {"optimizer": "sgd", "batch_size": 2}),
    "muon": ({"depth": 2, "width": 6, "activation": "relu"}, {"optimizer": "muon", "schedule": "cosine"}),
    "resmlp": NETWORKS["resmlp"],
    "convnet": NETWORKS["convnet"],
    "transformer": NETWORKS["transformer"],
}


def stepped(case: str) -> Any:
    """Canonical settings of a case of a thousand steps."""
    network, training = STEPPED[case]
    if case not in NETWORKS:
        return settings_of(network, **{"steps": 1000, **training})
    settings = settings_of(data=network, optimizer="adam", batch_size=5, steps=1000)
    settings["network"] = {"kind": case, **training}
    return settings
