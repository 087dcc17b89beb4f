"""Sweeps of residual, convolutional and attention networks for sweep.py: their grids, their costs, and whether a peer
computes the same.

The convolutions read the digits as images and the residual networks a linear teacher, which the service draws;
sequences of 64 tokens are uploaded. Peers draw noise of the same sizes.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_networks import KINDS, NetworkSweep, drawn, moved
from torch import Tensor

from nfa_kernels.graphs import cost
from nfa_kernels.graphs.graph import Graph, Input
from nfa_kernels.graphs.named import network_graph
from nfa_kernels.metrics import Request
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.measuring import measure_program, program_data
from service.client import Client
from workers.motion import motion
from workers.program_data import ProgramData

RESMLP = NetworkSweep(
    "resmlp-float32",
    {"kind": "resmlp", "depth": 6, "width": 64, "activation": "relu", "norm": "layer"},
    *((32,), 4, 256, 800, 100, "float32", 16),
    learning_rate=0.003,
)
CONVNET = NetworkSweep(
    "convnet-float32",
    {"kind": "convnet", "depth": 3, "channels": 16, "kernel": 3, "activation": "relu"},
    *((1, 8, 8), 10, 256, 200, 50, "float32", 16),
)
TRANSFORMER = NetworkSweep(
    "transformer-float32",
    {"kind": "transformer", "depth": 2, "width": 32, "norm": "layer", "activation": "gelu"},
    *((64,), 4, 64, 40, 20, "float32", 16),
    vocabulary=16,
)


def in_float64(sweep: NetworkSweep) -> NetworkSweep:
    """The same in float64."""
    return replace(sweep, name=sweep.name.replace("float32", "float64"), dtype="float64")


def graph_of(sweep: NetworkSweep) -> Graph:
    """The graph of a sweep's networks."""
    return network_graph(sweep.network, Input(sweep.form, sweep.vocabulary), sweep.outputs)


def network_document(sweep: NetworkSweep, seeds: int, dataset: str = "") -> dict[str, Any]:
    """The sweep as a grid of this service; dataset is the id of its upload, where it has one."""
    training: dict[str, Any] = {
        "optimizer": sweep.optimizer,
        "learning_rate": sweep.learning_rate,
        "weight_decay": sweep.weight_decay,
        "steps": sweep.steps,
        "dtype": sweep.dtype,
        "loss": sweep.loss,
    }
    if sweep.batch_size:
        training["batch_size"] = sweep.batch_size
    metrics = {"every": sweep.every, "metrics": ["train_loss", "alignment"], "dtype": sweep.measured_in or sweep.dtype}
    trial = {"data": _data(sweep, dataset), "network": sweep.network, "training": training, "measure": metrics}
    return {"name": sweep.name, "trial": trial, "axes": {}, "seeds": seeds}


def _data(sweep: NetworkSweep, dataset: str) -> dict[str, Any]:
    if sweep.vocabulary:
        return {"kind": "uploaded", "dataset_id": dataset, "vocabulary": sweep.vocabulary}
    if len(sweep.form) == 3:
        return {"kind": "digits", "layout": "image", "samples": sweep.samples}
    return {"samples": sweep.samples, "inputs": sweep.form[0], "outputs": sweep.outputs, "spectrum": [1.0] * 4}


def arrays_of(sweep: NetworkSweep) -> Mapping[str, np.ndarray]:
    """What is uploaded for a sweep."""
    x, y = drawn(sweep, torch.Generator().manual_seed(0))
    return {"x": x.numpy(), "y": y.double().numpy()}


def uploaded(client: Client, sweep: NetworkSweep) -> str:
    """The id under which the service has these arrays."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.npz"
        np.savez(path, allow_pickle=False, **arrays_of(sweep))
        return client.upload(path).id


def step_flops(sweep: NetworkSweep) -> int:
    """Operations of a step of one network."""
    return cost.step_flops(graph_of(sweep), sweep.batch_size or sweep.samples, sweep.optimizer)


def told(sweep: NetworkSweep) -> str:
    """Sizes in words."""
    settings = ", ".join(f"{name} {value}" for name, value in sweep.network.items() if name != "kind")
    batch = f", batches of {sweep.batch_size}" if sweep.batch_size else ""
    return f"{settings}; samples of {sweep.form}, n = {sweep.samples}{batch}"


def difference(sweep: NetworkSweep, steps: int = 5) -> tuple[float, float]:
    """How far a peer's loss and alignment are from ours after a few steps from the same weights, on all samples."""
    sweep = replace(sweep, dtype="float64", batch_size=None, steps=steps, every=steps, optimizer="gd")
    program, (x, y) = GraphProgram(graph_of(sweep)), drawn(sweep, torch.Generator().manual_seed(0))
    first = program.initial("lecun", 0)
    network = KINDS[sweep.network["kind"]](sweep).double()
    with torch.no_grad():
        for own, array in zip(_in_our_order(network), first, strict=True):
            own.copy_(array.reshape(own.shape))
    rows: list[tuple[int, float, float]] = []
    moved(sweep, network, x, y, torch.Generator(), lambda *row: rows.append(row))
    _, loss, alignment = rows[-1]
    our_loss, our_alignment = _ours(sweep, program, first, x, y)
    return abs(our_loss - loss) / abs(loss), abs(our_alignment - alignment)


def _in_our_order(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    """A peer's parameters in forward order: torch lists a module's own before those of the modules in it."""
    named = dict(network.named_parameters())
    first = [name for name in named if name.startswith("embedding")]
    return [named[name] for name in [*first, *(name for name in named if name not in first)]]


def _ours(sweep: NetworkSweep, program: GraphProgram, first: list[Tensor], x: Tensor, y: Tensor) -> tuple[float, float]:
    training = network_document(sweep, 1)["trial"]["training"] | {"decay_biases": True, "schedule": "constant"}
    x, y, none = x.unsqueeze(0), y.unsqueeze(0), slice(0, 0)
    with torch.inference_mode():
        data = ProgramData(program, x, y, training, [0], torch.float64)
        settings = {"training": training, "measure": {"steps": [sweep.steps]}}
        moving = motion(tuple(one.unsqueeze(0) for one in first), data, settings, [training])
        while not moving.reached(0):
            moving.advance(0)
        measured_on = program_data(program, x, y, x[:, none], y[:, none], sweep.loss)
        request = Request(("train_loss", "alignment"), (1,))
        found = measure_program(program, moving.weights, measured_on, request, sweep.loss)
    return found.network["train_loss"].item(), found.layers[1]["alignment"].item()
