"""Parameterisations of networks that are graphs: roles, and steps of order one at every width under mup."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.graphs.graph import Input, graph
from nfa_kernels.graphs.named import layers_of
from nfa_kernels.graphs.roles import roles
from nfa_kernels.losses import loss_of
from nfa_kernels.optimizers import OPTIMIZERS
from nfa_kernels.optimizers.groups import grouped, init, step
from nfa_kernels.parameterizations import attention_power
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.program import Params
from nfa_kernels.programs.recorded import Pass

IMAGES, TOKENS, VECTORS = Input((2, 5, 5)), Input((3,), 7), Input((6,))
RATES = {"gradient": 0.3, "sign": 0.02, "orthogonal": 0.05}


def _roles(layers: list[Any], of: Input, outputs: int = 2) -> dict[str, str]:
    network = graph(layers, of, outputs)
    return {one.name: role for one, role in zip(network.parameters, roles(network), strict=True)}


def test_roles_of_a_transformer_follow_its_width_from_the_tables_to_the_head():
    settings = {"depth": 1, "width": 8, "heads": 2, "mlp_width": 6, "bias": True}
    found = _roles(layers_of("transformer", settings, TOKENS), TOKENS)
    assert found["embedding1.weight"] == found["positions1.weight"] == "table"
    hidden = ("attention1.query", "attention1.key", "attention1.value", "attention1.output", "linear1", "linear2")
    assert {found[f"{name}.weight"] for name in hidden} == {"hidden"}
    assert {found[f"{name}.bias"] for name in hidden} == {"bias"}
    assert {found[f"norm{place}.{kind}"] for place in (1, 2, 3) for kind in ("weight", "bias")} == {"bias"}
    assert (found["linear3.weight"], found["linear3.bias"]) == ("output", "output_bias")


def test_roles_of_convolutions_and_of_residual_maps_are_those_of_an_mlp():
    found = _roles(layers_of("convnet", {"depth": 3, "channels": 4, "bias": True, "norm": "group"}, IMAGES), IMAGES)
    assert [found[f"{name}.weight"] for name in ("conv1", "conv2", "linear1")] == ["input", "hidden", "output"]
    assert (found["conv1.bias"], found["norm1.weight"], found["linear1.bias"]) == ("bias", "bias", "output_bias")
    found = _roles(layers_of("resmlp", {"depth": 4, "width": 5}, VECTORS), VECTORS)
    assert [*found.values()] == ["input", "hidden", "hidden", "output"]
    assert [*_roles(layers_of("convnet", {"depth": 1}, IMAGES), IMAGES).values()] == ["direct"]


def test_features_that_are_the_datas_or_added_to_them_do_not_grow():
    inner = [{"norm": "layer"}, {"linear": {"units": 9, "bias": True, "name": "up"}}, "relu"]
    layers: list[Any] = [{"residual": [*inner, {"linear": {"units": 6, "bias": True, "name": "down"}}]}]
    found = _roles([*layers, {"linear": {"units": 2, "name": "last"}}, "tanh"], VECTORS)
    assert (found["norm1.weight"], found["up.weight"], found["up.bias"]) == ("output_bias", "input", "bias")
    assert (found["down.weight"], found["down.bias"], found["last.weight"]) == ("output", "output_bias", "direct")
    rows = Input((3, 4))
    found = _roles([{"positions": "learned"}, {"attention": 2}, {"readout": "flatten"}, {"linear": {}}], rows)
    assert {*found.values()} == {"direct", "output_bias"}


def _network(kind: str, width: int, parameterization: str) -> tuple[GraphProgram, Tensor, Tensor]:
    """A network of a kind and a width, and inputs and targets (1, N, ..)."""
    generator = torch.Generator().manual_seed(0)
    settings: dict[str, Any] = {"activation": "relu", "bias": True}
    if kind == "transformer":
        of = TOKENS
        settings |= {"depth": 1, "width": width, "heads": 2, "mlp_width": width, "norm": "rms"}
        x = torch.randint(7, (1, 12, 3), generator=generator).double()
    elif kind == "convnet":
        of, settings = IMAGES, settings | {"depth": 3, "channels": width}
        x = torch.randn((1, 12, 2, 5, 5), generator=generator, dtype=torch.float64)
    else:
        of = VECTORS
        settings |= {"depth": 4, "width": width, "norm": "layer"}
        x = torch.randn((1, 12, 6), generator=generator, dtype=torch.float64)
    layers = layers_of("resmlp" if kind == "graph" else kind, settings, of)
    if kind == "graph":
        layers = [{"linear": width}, {"norm": "layer"}, "tanh", {"residual": [{"linear": width}, "gelu"]}, *layers[1:]]
    y = torch.randn((1, 12, 3), generator=generator, dtype=torch.float64)
    return GraphProgram(graph(layers, of, 3), parameterization), x, y


def _stepped(kind: str, width: int, optimizer: str, parameterization: str, steps: int = 1) -> dict[str, float]:
    """Root mean squares of the changes of every measured layer's z, and of the outputs, after some steps."""
    program, x, y = _network(kind, width, parameterization)
    before = after = tuple(array[None] for array in program.initial("lecun", 0))
    rule, sizes = OPTIMIZERS[optimizer], names.OPTIMIZERS[optimizer].steps
    rates = [torch.tensor([RATES[sizes] * one.rate], dtype=torch.float64) for one in program.scalings(sizes)]
    numbers = {"momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-30, "rho": 0.99}
    read = names.OPTIMIZERS[optimizer].hyperparameters
    shared = {name: torch.full((1, 1, 1), numbers[name], dtype=torch.float64) for name in read}
    groups = grouped(rates, [torch.zeros(1, dtype=torch.float64)] * len(rates), shared)
    state = init(rule, groups, before)
    for _ in range(steps):
        after, state = step(rule, groups, after, program.gradients(after, x, y, loss_of("half")), state)
    was, now = (_activations(program, params, x) for params in (before, after))
    return {name: float((now[name] - was[name]).square().mean().sqrt()) for name in was}


def _activations(program: GraphProgram, params: Params, x: Tensor) -> dict[str, Tensor]:
    run = Pass(
        program.effective(params), [one.number for one in program.measured], attention_power(program.parameterization)
    )
    outputs = run.through(program.graph.nodes, x)
    return {one.name: run.taps[one.number].detach() for one in program.measured} | {"outputs": outputs.detach()}


WIDTHS = {"resmlp": (16, 64, 256), "graph": (16, 64, 256), "convnet": (8, 32, 128), "transformer": (16, 64, 256)}
RULES = ("gd", "adam", "muon")


@pytest.mark.parametrize("optimizer", RULES)
@pytest.mark.parametrize("kind", WIDTHS)
def test_a_step_changes_outputs_and_features_of_any_kind_by_order_one_at_every_width(kind, optimizer):
    changes = [_stepped(kind, width, optimizer, "mup") for width in WIDTHS[kind]]
    for name in changes[0]:
        of_layer = [one[name] for one in changes]
        assert max(of_layer[1:]) < 2.5 * of_layer[0], f"{name}: {of_layer}"
        # scores begin at 1/sqrt(d_head), so gradients of queries and keys are smaller until a few steps are done
        if not (name.endswith(("query", "key")) and names.OPTIMIZERS[optimizer].steps == "gradient"):
            assert min(of_layer[1:]) > of_layer[0] / 2.5, f"{name}: {of_layer}"


@pytest.mark.parametrize("optimizer", RULES)
@pytest.mark.parametrize("kind", WIDTHS)
def test_a_standard_network_of_any_kind_is_changed_the_more_the_wider_it_is(kind, optimizer):
    first, *_, last = (_stepped(kind, width, optimizer, "standard")["outputs"] for width in WIDTHS[kind])
    # sixteen times as wide
    assert last > 2 * first
