"""Counts of a graph's operations are those that torch counts while a program runs."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nfa_kernels.graphs import cost, room
from nfa_kernels.graphs.graph import Input, graph
from nfa_kernels.graphs.named import layers_of
from nfa_kernels.losses import loss_of
from nfa_kernels.programs.graph_program import GraphProgram

NETWORKS: dict[str, tuple[dict[str, Any], Input]] = {
    "resmlp": ({"depth": 4, "width": 32, "activation": "gelu", "bias": True}, Input((12,))),
    "convnet": ({"depth": 3, "channels": 16, "kernel": 3, "stride": 2, "activation": "relu"}, Input((2, 12, 9))),
    "transformer": ({"depth": 2, "width": 16, "heads": 4}, Input((9,), 7)),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_products_of_a_step_are_as_many_as_torch_counts(kind):
    settings, of = NETWORKS[kind]
    network = graph(layers_of(kind, settings, of), of, 3)
    program, samples = GraphProgram(network), 6
    params = tuple(part.unsqueeze(0) for part in program.initial("he", 0))
    x, y = torch.ones(1, samples, *of.shape, dtype=torch.float64), torch.ones(1, samples, 3, dtype=torch.float64)
    with FlopCounterMode(display=False) as forward:
        program.forward(params, x)
    assert forward.get_total_flops() == samples * cost.forward_flops(network)
    with FlopCounterMode(display=False) as step:
        program.gradients(params, x, y, loss_of("half"))
    rest = 8 * samples * cost.numbers_per_sample(network) + 4 * cost.parameters(network)
    assert step.get_total_flops() == pytest.approx(cost.step_flops(network, samples, "gd") - rest, rel=0.02)


def test_parameters_and_bytes_grow_with_what_they_count():
    small, large = (graph([{"linear": {"units": n, "bias": True}}, {"linear": {}}], Input((5,)), 3) for n in (4, 8))
    assert (cost.parameters(small), cost.parameters(large)) == (4 * 6 + 12, 8 * 6 + 24)
    held = room.held_bytes(small, 10, 100, "gd", "float32")
    assert (
        held < room.held_bytes(small, 10, 100, "adam", "float32") < room.held_bytes(small, 10, 100, "adam", "float64")
    )
    assert held < room.held_bytes(small, 20, 100, "gd", "float32") < room.held_bytes(large, 20, 200, "gd", "float32")
    assert cost.measurement_flops(small, (1,), 50) < cost.measurement_flops(small, (1, 2), 50)


def test_memory_of_a_pass_does_not_grow_with_the_samples_beyond_what_is_passed_at_once():
    settings, of = NETWORKS["convnet"]
    network = graph(layers_of("convnet", settings, of), of, 3)
    few, many = (room.held_bytes(network, samples, samples, "gd", "float64") for samples in (10_000, 20_000))
    of_data = (many - few) / 10_000
    assert of_data < 40 * (2 * 12 * 9 + 9), "inputs and outputs alone"
    passes = [room.pass_bytes(network, samples, samples, "float64") for samples in (10_000, 20_000)]
    assert passes[0] == passes[1] > 8 * cost.TAPE_ELEMENTS


@pytest.mark.parametrize("kind", NETWORKS)
def test_passes_over_a_stack_take_no_more_memory_beyond_the_networks_that_are_passed_at_once(kind):
    settings, of = NETWORKS[kind]
    network = graph(layers_of(kind, settings, of), of, 3)
    one, some, many, most = (room.pass_bytes(network, 16, 100, "float64", lanes) for lanes in (1, 2, 100_000, None))
    assert 0 < one <= some <= many == most
