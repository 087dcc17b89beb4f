"""Train one stack of graphs in a process of its own; prints the bytes it took at most, and what the cost model says."""

import json
import sys
from typing import Any

import numpy as np
import torch
from memory_of_a_stack import peak, settled

from nfa_kernels.graphs import room
from nfa_kernels.graphs.graph import Input, graph
from nfa_kernels.graphs.named import layers_of
from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.allocation import keep_freed_memory
from workers.blocks import Lane, Stack
from workers.training import train


def arrays(form: list[int], samples: int) -> dict[str, np.ndarray]:
    """Noise of this form, with four targets that name classes."""
    generator = np.random.default_rng(0)
    return {"x": generator.standard_normal((samples, *form)), "y": np.eye(4)[np.arange(samples) % 4]}


def stack(asked: dict[str, Any], samples: int, lanes: int) -> Stack:
    """So many networks of the kind asked for, each on so many samples."""
    document = {"training": asked["training"], "measure": asked["measure"], "data": {"samples": samples}}
    settings = canonical(TrialSettings.model_validate(document))
    settings["network"] = asked["network"]
    settings["data"] = {"kind": "uploaded", "dataset_id": "data"}
    return Stack(tuple(Lane(settings, seed) for seed in range(lanes)), {"data": arrays(asked["form"], samples)})


if __name__ == "__main__":
    torch.set_num_threads(1)
    keep_freed_memory()
    asked, lanes = json.loads(sys.argv[1]), int(sys.argv[2])
    samples, training, form = asked["samples"], asked["training"], Input(tuple(asked["form"]))
    for _ in train(stack(asked, 20, 1)):  # libraries, and what is the same for every stack
        pass
    whole = stack(asked, samples, lanes)
    before = settled()
    for _ in train(whole):
        pass
    settings = {name: value for name, value in asked["network"].items() if name != "kind"}
    network = graph(layers_of(asked["network"]["kind"], settings, form), form, 4)
    batch = training.get("batch_size", samples)
    held = room.held_bytes(network, batch, samples, training["optimizer"], training["dtype"])
    passes = room.pass_bytes(network, batch, samples, training["dtype"], lanes)
    print(json.dumps({"taken": peak() - before, "estimate": lanes * held + passes, "passes": passes}))
