"""Steps by compiled code: the numbers of the tensor library, whatever a network is stacked with."""

import itertools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compilers import needs_compiler

from nfa_kernels import names
from nfa_kernels.native import call, compiling, graphs, networks
from nfa_kernels.native.compiling import SWITCH
from nfa_kernels.networks import Architecture
from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.blocks import Block, Lane, Stack
from workers.kept_weights import decoded
from workers.motion import Stepping
from workers.training import train

STEPS = 70
DECAY: dict[str, Any] = {"weight_decay": 0.3}
RULES = sorted(names.COMPILED_OPTIMIZERS - {"sgd"})


def _settings(width: Sequence[int] = (6, 9), sizes: tuple[int, int] = (5, 3), **training: Any) -> dict[str, Any]:
    inputs, outputs = sizes
    network = {"parameterization": training.pop("parameterization", "standard")}
    network |= {name: training.pop(name) for name in ("activation", "bias", "slope") if name in training}
    document = {
        "data": {
            "samples": training.pop("samples", 30),
            "inputs": inputs,
            "outputs": outputs,
            "spectrum": [1.0, 0.5][: min(sizes)],
        },
        "network": {"depth": len(width) + 1, "width": [*width], **network},
        "init": {"scale": training.pop("scale", 1.0)},
        "training": {"learning_rate": 0.02, "steps": STEPS, **training},
        "measure": {"points": 4, "metrics": ["train_loss"], "weights": [3, STEPS]},
    }
    return canonical(TrialSettings.model_validate(document))


def _trained(settings: Sequence[Mapping[str, Any]], seeds: Sequence[int], **how: Any) -> list[Block]:
    lanes = tuple(Lane(one, seed) for one, seed in zip(settings, seeds, strict=True))
    return list(train(Stack(lanes), **how))


def _weights(blocks: Sequence[Block]) -> dict[tuple[int, int], np.ndarray]:
    """(lane, step) -> every kept weight of it."""
    kept = [one for block in blocks for one in block.weights]
    return {(lane, step): np.concatenate([a.ravel() for a in decoded(file)[0].values()]) for lane, step, file in kept}


@pytest.fixture
def native_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps that the tensor library made, as they are made."""
    made = list[int]()
    by_library = Stepping._step
    monkeypatch.setattr(Stepping, "_step", lambda self: (made.append(self.step), by_library(self)))
    monkeypatch.setenv(SWITCH, "1")
    return made


def _compare(settings: Mapping[str, Any], tolerance: float, monkeypatch: pytest.MonkeyPatch, made: list[int]) -> None:
    blocks = _trained([settings] * 2, [0, 1])
    ours = _weights(blocks)
    assert not made and blocks[-1].is_compiled, "the tensor library made steps"
    monkeypatch.setenv(SWITCH, "0")
    blocks = _trained([settings] * 2, [0, 1])
    theirs = _weights(blocks)
    assert not blocks[-1].is_compiled
    assert made and ours.keys() == theirs.keys() and len(ours) == 4
    for at, known in theirs.items():
        assert np.abs(ours[at] - known).max() <= tolerance * np.abs(known).max(), at


def test_the_service_knows_what_is_compiled():
    assert call.RULES.keys() == names.COMPILED_OPTIMIZERS and call.LOSSES.keys() == names.COMPILED_LOSSES
    assert graphs.ACTIVATIONS.keys() == names.COMPILED_ACTIVATIONS
    for activation, bias, widest, rule in itertools.product(
        ("linear", "relu", "leaky_relu", "tanh", "softplus"), (False, True), (20, 362, 363, 512, 513), ("adam", "muon")
    ):
        architecture = Architecture((5, widest, 3), activation, bias=bias)
        network = {"activation": activation, "bias": bias, "parameterization": "standard"}
        of = (architecture, rule, "half", 10)
        for dtype in compiling.TYPES:
            training = {"optimizer": rule, "loss": "half", "dtype": dtype, "weight_decay": 0.0}
            found = (networks.steps_of(*of) or graphs.layers_call(*of, dtype)) is not None
            assert found == names.is_compiled(network, training, widest), (activation, bias, widest, rule, dtype)


@needs_compiler
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batches", [{}, {"batch_size": 7, "batch_order": "shuffle"}])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 3e-5)])
def test_every_rule_moves_weights_as_the_tensor_library_does(
    rule, decay, batches, dtype, tolerance, monkeypatch, native_steps
):
    rule = "sgd" if rule == "gd" and batches else rule
    settings = _settings(optimizer=rule, weight_decay=decay, dtype=dtype, **batches)
    _compare(settings, tolerance, monkeypatch, native_steps)


@needs_compiler
@pytest.mark.parametrize(
    ("width", "sizes"),
    [((), (5, 3)), ((), (3, 5)), ((7,), (3, 11)), ((17, 8, 9), (12, 10)), ((40,), (33, 6)), ((6, 5), (1, 1))],
)
@pytest.mark.parametrize("rule", ["gd", "adam"])
def test_every_shape_does(width, sizes, rule, monkeypatch, native_steps):
    _compare(_settings(width, sizes, optimizer=rule, **DECAY), 1e-13, monkeypatch, native_steps)


@needs_compiler
@pytest.mark.parametrize("sizes", [(5, 3), (3, 5)])
@pytest.mark.parametrize("batches", [{}, {"batch_size": 7, "batch_order": "cyclic"}])
@pytest.mark.parametrize("loss", [{"loss": "mse"}, {"loss": "sum"}, {"loss": "huber", "huber_delta": 0.5}])
def test_every_loss_does(loss, batches, sizes, monkeypatch, native_steps):
    rule = "sgd" if batches else "gd"
    _compare(_settings(sizes=sizes, optimizer=rule, **loss, **batches), 1e-13, monkeypatch, native_steps)


@needs_compiler
@pytest.mark.parametrize(
    "training",
    [
        {"parameterization": "ntk", **DECAY},
        {"parameterization": "mup", "optimizer": "adam"},
        {"schedule": "cosine", **DECAY},
        {"schedule": "warmup", "schedule_steps": 10},
        {"layers": {"1": {"learning_rate": 0.001}, "3": {"weight_decay": 0.2}}, "optimizer": "momentum"},
    ],
)
def test_scaled_scheduled_and_own_rates_do(training, monkeypatch, native_steps):
    _compare(_settings(**training), 1e-13, monkeypatch, native_steps)


@needs_compiler
@pytest.mark.parametrize("training", [{}, {"batch_size": 7, "batch_order": "shuffle"}])
@pytest.mark.parametrize(
    "network",
    [
        {"activation": "relu"},
        {"activation": "relu", "bias": True, "parameterization": "ntk"},
        {"activation": "leaky_relu", "slope": 0.3, "bias": True, "loss": "mse", "schedule": "cosine"},
        {"bias": True, "parameterization": "mup"},
        {"activation": "tanh"},
        {"activation": "gelu", "bias": True},
        {"activation": "silu", "schedule": "cosine"},
        {"activation": "sigmoid", "bias": True},
        {"activation": "quadratic", "scale": 0.3, "learning_rate": 0.002},
        {"activation": "leaky_relu", "slope": -0.3},
    ],
)
@pytest.mark.parametrize("rule", ["gd", "nesterov", "adamw"])
def test_networks_with_activations_and_biases_do(rule, network, training, monkeypatch, native_steps):
    rule = "sgd" if rule == "gd" and training else rule
    _compare(
        _settings((17, 6), (5, 3), optimizer=rule, **network, **training, **DECAY), 1e-13, monkeypatch, native_steps
    )


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_more_samples_than_are_passed_at_once_do(dtype, monkeypatch, native_steps):
    settings = _settings(activation="relu", bias=True, dtype=dtype, samples=600, optimizer="gd", **DECAY)
    _compare(settings, 1e-13 if dtype == "float64" else 3e-5, monkeypatch, native_steps)


@needs_compiler
@pytest.mark.parametrize("batches", [{}, {"batch_size": 7, "batch_order": "shuffle"}])
@pytest.mark.parametrize("network", [{"activation": "relu"}, {"activation": "tanh", "parameterization": "ntk"}])
def test_weights_in_float64_beside_passes_in_float32_do(network, batches, monkeypatch, native_steps):
    settings = _settings(optimizer="momentum", dtype="float32", weight_decay=1e-3, bias=True, **network, **batches)
    assert names.has_wide_weights(settings["training"])
    _compare(settings, 3e-6, monkeypatch, native_steps)


@needs_compiler
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_a_network_has_the_same_bits_alone_and_in_a_stack(optimizer, dtype, activation, native_steps):
    rates = (0.01, 0.02, 0.04)
    how = {"optimizer": optimizer, "dtype": dtype, "activation": activation, **DECAY}
    settings = [_settings(learning_rate=rate, **how) for rate in rates]
    together = _weights(_trained(settings, [4, 5, 6]))
    for place in range(3):
        alone = _weights(_trained(settings[place : place + 1], [4 + place]))
        for (_, step), own in alone.items():
            assert np.array_equal(own, together[place, step])
    assert not native_steps


@needs_compiler
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_resumed_network_has_the_bits_of_an_undisturbed_one(optimizer, native_steps, monkeypatch):
    settings = _settings(optimizer=optimizer, batch_size=7, batch_order="shuffle")
    blocks = _trained([settings] * 2, [0, 1], block_seconds=0.0, checkpoint_seconds=0.0)
    whole = _weights(blocks)
    saved = next(block for block in blocks if block.checkpoints and block.checkpoints[0][1] > 3)
    lanes = tuple(Lane(settings, seed, file) for seed, (_, _, file) in enumerate(saved.checkpoints))
    again = _weights(list(train(Stack(lanes))))
    assert not native_steps and again.keys() == {(0, STEPS), (1, STEPS)}
    assert all(np.array_equal(own, whole[at]) for at, own in again.items())


@needs_compiler
def test_a_network_that_explodes_ends_as_it_does_without_compiled_steps(monkeypatch, native_steps):
    settings = [_settings(learning_rate=rate) for rate in (0.02, 2.0)]
    found = [(end.lane, end.state, end.step) for block in _trained(settings, [0, 1]) for end in block.ended]
    monkeypatch.setenv(SWITCH, "0")
    known = [(end.lane, end.state, end.step) for block in _trained(settings, [0, 1]) for end in block.ended]
    assert found == known and {state for _, state, _ in found} == {"completed", "diverged"}


@needs_compiler
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sizes", [(5, 3), (3, 5)])
@pytest.mark.parametrize("optimizer", RULES)
def test_a_network_that_is_no_number_leaves_none_to_those_behind_it(optimizer, sizes, dtype, native_steps):
    """Between two looks its steps go on, in the room where those of the next network are made."""
    steps, how = 63, {"optimizer": optimizer, "sizes": sizes, "dtype": dtype}
    fine, lost = (
        {**one, "training": {**one["training"], "steps": steps}, "measure": {**one["measure"], "weights": [steps]}}
        for one in (_settings(**how), _settings(**how, learning_rate=1e38))
    )
    together = _weights(_trained([lost, fine], [0, 1]))
    assert np.array_equal(_weights(_trained([fine], [1]))[0, steps], together[1, steps])
    assert not native_steps


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of compiled files, and nothing remembered of another one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(SWITCH, "1")
    networks._compiled.cache_clear()
    networks._told.clear()
    yield tmp_path / "nfa" / "native"
    networks._compiled.cache_clear()
    networks._told.clear()


def _fake_compiler(folder: Path, script: str) -> str:
    path = folder / "fakecc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (None, "no C compiler: nothing-such is not on the PATH"),
        ("exit 1", "fails"),
        ('[ "$1" = --version ] && echo fake 1.0 || exit 0', "cannot be loaded"),
        ('echo "fake 1.0"; [ "$1" = --version ] || { echo "no space left" >&2; exit 1; }', "no space left"),
    ],
)
def test_without_a_compiler_that_works_the_tensor_library_trains_and_one_line_says_so(
    script, told, elsewhere, monkeypatch, native_steps, caplog
):
    monkeypatch.setenv("CC", "nothing-such" if script is None else _fake_compiler(elsewhere.parent.parent, script))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert _trained([_settings()], [0])[-1].ended[0].state == "completed"
    assert native_steps
    said = [record.getMessage() for record in caplog.records if "small networks train slower" in record.getMessage()]
    assert len(said) == 1 and told in said[0]


@pytest.fixture
def whole_file() -> bytes:
    """A compiled file of this user's folder."""
    compiling.library("float64")
    return (compiling.cache_folder() / compiling.file_name(compiling.compiler(), "float64")).read_bytes()


@needs_compiler
@pytest.mark.parametrize("length", [0, 20, 9000])
def test_a_file_that_is_cut_off_is_compiled_again(length, whole_file, elsewhere, native_steps):
    path = compiling.cache_folder() / compiling.file_name(compiling.compiler(), "float64")
    path.write_bytes(whole_file[:length])
    path.chmod(0o700)
    _trained([_settings()], [0])
    assert not native_steps and len(path.read_bytes()) > 10_000


@needs_compiler
def test_a_folder_that_others_may_write_is_not_used(elsewhere, native_steps):
    elsewhere.mkdir(parents=True)
    elsewhere.chmod(0o777)
    with pytest.raises(PermissionError, match="others may write there"):
        compiling.cache_folder()
    _trained([_settings()], [0])
    assert not native_steps and not [*elsewhere.iterdir()]


@needs_compiler
def test_a_user_without_a_home_compiles_too(elsewhere, monkeypatch, native_steps):
    monkeypatch.delenv("XDG_CACHE_HOME")

    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(OSError, match="there is no home"):
        compiling.cache_folder()
    _trained([_settings()], [0])
    assert not native_steps


@needs_compiler
def test_the_folder_and_its_files_are_this_users_alone(elsewhere):
    compiling.library("float64")
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_uid == os.getuid() and not path.stat().st_mode & 0o22 for path in elsewhere.iterdir())
