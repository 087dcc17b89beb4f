"""Compiled steps of networks that nobody chose: drawn sizes, layers, rules and minibatches, against the plain ones."""

from typing import Any

import pytest
import torch
from compilers import needs_compiler
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nfa_kernels import names
from nfa_kernels.graphs.graph import Input, graph
from nfa_kernels.initialisations import initial_weights
from nfa_kernels.native.compiling import SWITCH
from nfa_kernels.networks import Architecture, Params
from nfa_kernels.programs.graph_program import GraphProgram
from tests.nfa_kernels.drawn_graphs import networks
from workers.motion import Stepping
from workers.program_data import ProgramData
from workers.training_data import Data

pytestmark = needs_compiler
SEEDS = (0, 1)
NUMBERS: dict[str, Any] = {
    **{"learning_rate": 0.001, "steps": 3, "schedule": "constant", "loss": "half", "dtype": "float64"},
    **{"momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 0.01, "rho": 0.9},
}
"""epsilon: rounding is not divided by itself where a gradient is nothing else."""
ACTIVATIONS = sorted(names.COMPILED_ACTIVATIONS)
# what steps by a sign may turn round where a gradient is rounding alone
RULES = sorted(names.COMPILED_OPTIMIZERS - {"gd", "lion", "signsgd"})


@st.composite
def _trainings(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """How many samples there are, and how one trains on them."""
    samples = draw(st.integers(1, 40))
    batches = {"batch_size": draw(st.integers(1, samples)), "batch_order": "shuffle"} if draw(st.booleans()) else {}
    decay = draw(st.sampled_from((0.0, 0.1)))
    return samples, {**NUMBERS, **batches, "optimizer": draw(st.sampled_from(RULES)), "weight_decay": decay}


def _moved(data: Data, weights: Params, training: dict[str, Any], native: str) -> Params:
    with pytest.MonkeyPatch.context() as environment, torch.inference_mode():
        environment.setenv(SWITCH, native)
        moving = Stepping(weights, data, {"training": training, "measure": {"steps": [3]}}, [training] * len(SEEDS))
        assert moving.is_compiled == (native == "1")
        while not moving.reached(0):
            moving.advance(0)
        return moving.weights


def _compare(ours: Params, theirs: Params) -> None:
    assume(all(bool(array.isfinite().all()) and array.abs().max() < 100 for array in theirs))
    for found, known in zip(ours, theirs, strict=True):
        assert (found - known).abs().max() <= 1e-12 * max(1.0, known.abs().max().item())


def _drawn(*shape: int) -> torch.Tensor:
    return torch.randn(len(SEEDS), *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@given(networks([name for name in ACTIVATIONS if name != "linear"], 11), _trainings())
@settings(max_examples=60, deadline=None)
def test_graphs_move_as_the_tensor_library_moves_them(network: tuple[Input, list[Any]], how: tuple[int, dict]) -> None:
    (of, layers), (samples, training) = network, how
    program, y = GraphProgram(graph(layers, of, 2)), _drawn(samples, 2)
    numbers = torch.Generator().manual_seed(2)
    shape = (len(SEEDS), samples, *of.shape)
    x = torch.randint(of.vocabulary, shape, generator=numbers).double() if of.vocabulary else _drawn(*shape[1:])
    each = [program.initial("lecun", seed) for seed in SEEDS]
    weights = tuple(torch.stack(arrays) for arrays in zip(*each, strict=True))
    # a query of one token has no gradient but rounding, which grows with outputs that were squared thrice
    assume(program.forward(weights, x).abs().max() < 100)

    def moved(native: str) -> Params:
        own = tuple(array.clone() for array in weights)
        return _moved(ProgramData(program, x, y, training, SEEDS, torch.float64), own, training, native)

    _compare(moved("1"), moved("0"))


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.sampled_from(ACTIVATIONS), st.booleans(), _trainings())
@settings(max_examples=60, deadline=None)
def test_fully_connected_networks_do(widths: list[int], activation: str, bias: bool, how: tuple[int, dict]) -> None:
    samples, training = how
    architecture = Architecture((*widths,), activation, bias=bias)
    x, y = _drawn(samples, widths[0]), _drawn(samples, widths[-1])
    each = [initial_weights("lecun", architecture.widths, seed) for seed in SEEDS]

    def moved(native: str) -> Params:
        weights = tuple(torch.stack(arrays) for arrays in zip(*each, strict=True))
        data = Data(architecture, x, y, training, SEEDS, torch.float64)
        return _moved(data, (*weights, *architecture.zero_biases(weights)), training, native)

    _compare(moved("1"), moved("0"))
