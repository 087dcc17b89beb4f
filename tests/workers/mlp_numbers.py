"""Trains a few stacks of fully connected networks; prints every number of theirs, as float.hex has them.

    python tests/workers/mlp_numbers.py > tests/workers/mlp_numbers.json

made the committed file before networks other than fully connected ones were known. Those of "tanh, float32" were made
anew, with `NFA_NATIVE=0`, when outer products came to be summed at a layer's units: they differ by less than 1e-13.
"""

import json
from typing import Any, Final

import torch

from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.blocks import Lane, Stack
from workers.kept_weights import decoded
from workers.training import train

DATA: Final = {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1], "test_samples": 5}
MEASURE: Final = {"points": 4, "layers": "all", "metrics": "all", "weights": [40]}
CASES: Final[dict[str, dict[str, Any]]] = {
    "linear": {"network": {"depth": 3, "width": 6}, "training": {"weight_decay": 0.1}},
    "relu, minibatches": {
        "network": {"depth": 3, "width": 6, "activation": "relu", "bias": True},
        "training": {"optimizer": "adam", "batch_size": 7, "learning_rate": 0.01, "weight_decay": 0.01},
    },
    "tanh, float32": {
        "network": {"depth": 2, "width": 6, "activation": "tanh", "parameterization": "ntk"},
        "training": {"optimizer": "momentum", "dtype": "float32", "weight_decay": 0.1, "schedule": "cosine"},
    },
    "mup": {
        "network": {"depth": 3, "width": 6, "activation": "gelu", "parameterization": "mup"},
        "training": {"optimizer": "adamw", "learning_rate": 0.01},
    },
    "layers of their own": {
        "network": {"depth": 3, "width": 6, "activation": "relu"},
        "training": {"layers": {"1": {"learning_rate": 0.001}, "3": {"weight_decay": 0.2}}},
    },
    "gradient flow": {
        "network": {"depth": 3, "width": 6},
        "training": {"optimizer": "gradient_flow", "horizon": 1, "weight_decay": 0.1},
        "measure": {"points": 4, "layers": "all", "metrics": "all"},
    },
}


def numbers_of(case: dict[str, Any]) -> dict[str, list[str]]:
    """Every measured number and kept weight of a stack of two, by name, as hexadecimal text."""
    training = dict(case["training"])
    if training.get("optimizer") != "gradient_flow":
        training = {"steps": 40, "learning_rate": 0.02, **training}
    document = {"data": DATA, "measure": MEASURE, **case, "training": training}
    settings = canonical(TrialSettings.model_validate(document))
    found: dict[str, list[float]] = {}
    for block in train(Stack((Lane(settings, 3), Lane(settings, 4)))):
        for level, batch in (("network", block.network), ("layers", block.layers)):
            for name in batch.schema.names:
                found.setdefault(f"{level} {name}", []).extend(batch.column(name).to_pylist())
        for *_, content in block.weights:
            for name, array in decoded(content)[0].items():
                found.setdefault(name, []).extend(array.ravel().tolist())
    return {name: [float(value).hex() for value in values] for name, values in found.items()}


def machine() -> str:
    """What the last bits follow from beside the code."""
    return f"torch {torch.__version__.partition('+')[0]}, {torch.backends.cpu.get_cpu_capability()}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    numbers = {name: numbers_of(case) for name, case in CASES.items()}
    print(json.dumps({"machine": machine(), "numbers": numbers}, separators=(",", ":")))
