"""Compiled steps of networks that are graphs of layers: the numbers of the tensor library, in any stack."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from compilers import needs_compiler

from nfa_kernels import names
from nfa_kernels.graphs.graph import Graph, Input, graph
from nfa_kernels.graphs.named import network_graph
from nfa_kernels.native import graphs
from nfa_kernels.native.compiling import SWITCH
from nfa_kernels.networks import Params
from nfa_kernels.programs.graph_program import GraphProgram
from workers.motion import Stepping
from workers.program_data import ProgramData

pytestmark = needs_compiler
STEPS = 12
TRAINING: dict[str, Any] = {
    **{"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.1, "steps": STEPS, "schedule": "constant"},
    **{"loss": "half", "dtype": "float64", "momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "rho": 0.9},
}
BATCHES: dict[str, Any] = {"batch_size": 7, "batch_order": "shuffle"}
VECTORS, IMAGES, TOKENS, NUMBERS = Input((5,)), Input((2, 7, 6)), Input((6, 4)), Input((20,), 7)


def _named(data: Input, kind: str, **network: Any) -> Graph:
    return network_graph({"kind": kind, **network}, data, 3)


def _layers(data: Input, *layers: Any) -> Graph:
    return graph(layers, data, 3)


_NORMED = {"depth": 4, "width": 9, "norm": "layer"}
GRAPHS: dict[str, Graph] = {
    "residual": _named(VECTORS, "resmlp", activation="relu", bias=True, **_NORMED),
    "wider than a vector": _named(Input((33,)), "resmlp", depth=4, width=40, activation="gelu", norm="rms"),
    "convolutions": _named(IMAGES, "convnet", depth=3, channels=5, kernel=3, activation="relu"),
    "kernels of two": _named(IMAGES, "convnet", depth=3, channels=4, kernel=2, activation="tanh", bias=True),
    "transformer": _named(TOKENS, "transformer", depth=2, width=8, heads=2, activation="gelu", norm="layer"),
    "of numbers": _named(NUMBERS, "transformer", depth=2, width=8, activation="relu", norm="rms"),
    "strides and groups": _layers(
        Input((2, 11, 10)),
        {"conv": {"channels": 6, "kernel": 3, "stride": 2, "padding": "same", "bias": True}},
        {"norm": {"kind": "group", "groups": 2}},
        *("relu", {"pool": {"kind": "max", "size": 2}}, "flatten", {"linear": {"bias": True}}),
    ),
    "averages": _layers(
        Input((2, 9, 9)),
        {"conv": {"channels": 6, "kernel": 4}},
        *({"pool": {"kind": "average", "size": 3}}, "silu", {"pool": {"kind": "max"}}, {"linear": {}}),
    ),
    "causal": _layers(
        TOKENS,
        {"linear": 8},
        {"residual": [{"norm": {"kind": "layer"}}, {"attention": {"heads": 2, "causal": True}}]},
        {"residual": [{"residual": [{"linear": {"units": 8, "bias": True}}, "tanh"]}, "tanh"]},
        *({"readout": {"kind": "flatten"}}, {"linear": {}}),
    ),
    "the last token": _layers(TOKENS, {"linear": 8}, {"attention": {}}, {"readout": {"kind": "last"}}, {"linear": {}}),
    "flat tokens": _layers(TOKENS, "flatten", {"linear": 8}, "sigmoid", {"linear": {}}),
}


def _samples(of: Graph, samples: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """Two lanes."""
    drawn, size = torch.Generator().manual_seed(1), (2, samples, *of.input.shape)
    words = of.input.vocabulary
    x = torch.randint(words, size, generator=drawn).double() if words else torch.randn(size, generator=drawn).double()
    return x, torch.randn(2, samples, 3, generator=drawn).double()


def _moved(
    of: Graph,
    x: torch.Tensor,
    y: torch.Tensor,
    seeds: Sequence[int],
    *,
    parameterization: str = "standard",
    lost: Sequence[int] = (),
    **given: Any,
) -> tuple[Params, Stepping]:
    program, training = GraphProgram(of, parameterization), {**TRAINING, **given}
    dtype = getattr(torch, training["dtype"])
    with torch.inference_mode():
        data = ProgramData(program, x, y, training, seeds, dtype)
        each = [program.initial("he", seed) for seed in seeds]
        weights = tuple(torch.stack(arrays) for arrays in zip(*each, strict=True))
        for array in weights:
            array[[*lost]] = torch.nan
        moving = Stepping(weights, data, {"training": training, "measure": {"steps": [STEPS]}}, [training] * len(seeds))
        while not moving.reached(0):
            moving.advance(0)
    return moving.weights, moving


def _compare(of: Graph, monkeypatch: pytest.MonkeyPatch, tolerance: float = 1e-13, samples: int = 20, **given: Any):
    x, y = _samples(of, samples)
    monkeypatch.setenv(SWITCH, "1")
    ours, moving = _moved(of, x, y, (0, 1), **given)
    assert moving._compiled is not None
    monkeypatch.setenv(SWITCH, "0")
    theirs, moving = _moved(of, x, y, (0, 1), **given)
    assert moving._compiled is None
    for one, found, known in zip(of.parameters, ours, theirs, strict=True):
        assert found.dtype == known.dtype
        assert (found - known).abs().max() <= tolerance * known.abs().max(), one.name


@pytest.mark.parametrize("batches", [{}, BATCHES])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_network_that_is_no_number_leaves_none_to_those_behind_it(name, batches, monkeypatch):
    monkeypatch.setenv(SWITCH, "1")
    x, y = _samples(GRAPHS[name])
    together, moving = _moved(GRAPHS[name], x, y, (0, 1), lost=[0], **batches)
    alone, _ = _moved(GRAPHS[name], x[1:], y[1:], (1,), **batches)
    assert moving._compiled is not None
    for found, known in zip(together, alone, strict=True):
        assert found[0].isnan().any() and torch.equal(found[1], known[0])


@pytest.mark.parametrize("batches", [{}, BATCHES])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_layer_moves_as_the_tensor_library_moves_it(name, batches, monkeypatch):
    _compare(GRAPHS[name], monkeypatch, **batches)


@pytest.mark.parametrize("name", ["residual", "convolutions", "transformer"])
def test_more_samples_than_are_passed_at_once_do(name, monkeypatch):
    _compare(GRAPHS[name], monkeypatch, samples=139)


def test_the_last_samples_that_are_fewer_do(monkeypatch):
    # 16, 16 and 6 at a time, whose last vectors hold nobody
    wide = _layers(
        Input((5, 6, 6)),
        *({"conv": {"channels": 16, "kernel": 1, "bias": True}}, {"norm": "rms"}, "tanh"),
        *({"pool": {"kind": "max", "size": "global"}}, "flatten", {"linear": 5}, "gelu", {"linear": {}}),
    )
    _compare(wide, monkeypatch, samples=38)


@pytest.mark.parametrize("activation", graphs.ACTIVATIONS)
def test_every_activation_does(activation, monkeypatch):
    _compare(_named(VECTORS, "resmlp", activation=activation, **_NORMED), monkeypatch)


@pytest.mark.parametrize("rule", sorted(names.COMPILED_OPTIMIZERS - {"sgd"}))
def test_every_rule_does(rule, monkeypatch):
    _compare(GRAPHS["residual"], monkeypatch, optimizer=rule)


@pytest.mark.parametrize("kind", ["residual", "kernels of two", "transformer", "of numbers"])
@pytest.mark.parametrize("parameterization", ["ntk", "mean_field", "mup"])
def test_every_parameterisation_does(kind, parameterization, monkeypatch):
    _compare(GRAPHS[kind], monkeypatch, parameterization=parameterization, **BATCHES)


@pytest.mark.parametrize(
    "given",
    [{"weight_decay": 0.0}, {"weight_decay": 1e-3}, {"weight_decay": 1e-3, "parameterization": "ntk"}],
    ids=["float32", "weights in float64", "scaled"],
)
@pytest.mark.parametrize("kind", ["residual", "convolutions", "transformer"])
def test_float32_rounds_as_little(kind, given, monkeypatch):
    _compare(GRAPHS[kind], monkeypatch, 3e-6, dtype="float32", optimizer="momentum", **given)


@pytest.mark.parametrize("loss", [{"loss": "mse"}, {"loss": "logistic"}, {"loss": "cross_entropy"}])
def test_every_loss_does(loss, monkeypatch):
    _compare(GRAPHS["residual"], monkeypatch, **loss)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["residual", "convolutions", "transformer", "strides and groups"])
def test_a_network_has_the_same_bits_alone_and_in_a_stack_that_explodes(name, dtype, monkeypatch):
    monkeypatch.setenv(SWITCH, "1")
    x, y = _samples(GRAPHS[name])
    x[0] *= 1e200 if not GRAPHS[name].input.vocabulary else 1
    stacked, _ = _moved(GRAPHS[name], x, y, (0, 1), dtype=dtype, **BATCHES)
    alone, moving = _moved(GRAPHS[name], x[1:], y[1:], (1,), dtype=dtype, **BATCHES)
    assert moving._compiled is not None and all(array.isfinite().all() for array in alone)
    for one, other in zip(stacked, alone, strict=True):
        assert torch.equal(one[1:], other)


@pytest.mark.parametrize(
    ("of", "given"),
    [
        (GRAPHS["residual"], {"optimizer": "muon"}),
        (_named(VECTORS, "resmlp", activation="erf", depth=3, width=4), {}),
        (_named(VECTORS, "resmlp", activation="softplus", depth=3, width=4), {}),
    ],
    ids=["a rule", "erf", "softplus"],
)
def test_what_the_code_does_not_know_is_left_to_the_tensor_library(of, given: Mapping[str, Any], monkeypatch):
    monkeypatch.setenv(SWITCH, "1")
    _, moving = _moved(of, *_samples(of), (0, 1), **given)
    assert moving._compiled is None


_UNDEFINED = """
from nfa_kernels.native import compiling
compiling._FLAGS += ("-O0", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
from nfa_kernels.native.taps import taps_of
from nfa_kernels.programs.graph_program import GraphProgram
from test_compiled_graphs import BATCHES, GRAPHS, _moved, _samples
for of in GRAPHS.values():
    layers = [one.number for one in of.measured]
    for dtype in compiling.TYPES:
        x, y = _samples(of)
        weights, moving = _moved(of, x, y, (0, 1), dtype=dtype, **BATCHES)
        assert moving._compiled is not None and taps_of(of, 0.5, layers, weights) is not None
        GraphProgram(of).tapped(weights, x.to(weights[0].dtype), layers)
"""


def test_nothing_that_c_leaves_undefined_happens(tmp_path):
    own, tests, root = Path(__file__).parents[:3]
    paths = os.pathsep.join(map(str, (own, tests / "programs", root)))
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": paths, SWITCH: "1"}
    # a vector that is stored where it may not lie, an index or a shift out of range: the process is ended
    done = subprocess.run([sys.executable, "-c", _UNDEFINED], env=environment, check=False)
    assert done.returncode == 0
