"""Train stacks of graphs, each in a process of its own; prints what each took at most, and what the cost model says."""

import json
import sys
from multiprocessing import get_context
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


def taken_and_told(asked: dict[str, Any]) -> dict[str, int]:
    """Bytes that a stack takes at most, those that the cost model says, and those of passes among them."""
    samples, training, form, lanes = asked["samples"], asked["training"], Input(tuple(asked["form"])), asked["lanes"]
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
    return {"taken": peak() - before, "estimate": lanes * held + passes, "passes": passes}


def in_a_fork(asked: dict[str, Any]) -> dict[str, int]:
    """The same in a process that has the libraries, and no other stack's freed memory."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(taken_and_told(asked)))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    keep_freed_memory()
    print(json.dumps([in_a_fork(asked) for asked in json.loads(sys.argv[1])]))
