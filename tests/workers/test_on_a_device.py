"""Whole trainings on a device: the CPU's numbers, as many launches for one network as for many, and no waiting."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from absent_gpu import AbsentGPU
from stacks_on_a_device import BATCHES, NETWORKS, STEPPED, moving, settings_of, stepped

from nfa_kernels import at_once, names
from workers.blocks import Lane, Stack
from workers.kept_weights import decoded
from workers.training import train


@pytest.fixture(autouse=True)
def few_tries(monkeypatch):
    """A flow that is quick here tries fewer steps beyond the end."""
    monkeypatch.setattr("workers.flowing._UNASKED_TRIES", 3)


def _blocks(settings: Any, device: str = "cpu", files: Any = None, lanes: int = 2, **options: Any) -> list[Any]:
    """All blocks of a stack; on the device that is not there if it is named."""
    stack = Stack(tuple(Lane(settings, seed, (files or {}).get(seed)) for seed in range(lanes)))
    if device == "cpu":
        return list(train(stack, **options))
    with AbsentGPU():
        return list(train(stack, device, **options))


def _numbers(blocks: list[Any], beyond: int = -1) -> np.ndarray:
    found = []
    for name in ("network", "layers"):
        table = pa.Table.from_batches([getattr(block, name) for block in blocks]).to_pylist()
        rows = sorted(table, key=lambda row: (row["lane"], row["step"], row.get("layer", 0)))
        found += [value for row in rows if row["step"] > beyond for value in row.values()]
    return np.array(found, dtype=float)


def _assert_the_cpus(settings: Any) -> None:
    np.testing.assert_allclose(
        _numbers(_blocks(settings, "cuda:0")), _numbers(_blocks(settings)), rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("rule", ["gd", "adamw", "muon", "rmsprop", "gradient_flow"])
def test_rules_train_on_a_device_to_the_cpus_numbers(rule):
    """Steps of every rule are held against the CPU's in tests/nfa_kernels/test_devices.py."""
    network = {"depth": 2, "width": 6, "activation": "relu", "bias": True}
    if rule == "gradient_flow":
        _assert_the_cpus(settings_of({"depth": 2, "width": 4}, optimizer=rule, horizon=0.01, weight_decay=0.1))
    else:
        batches = BATCHES if names.OPTIMIZERS[rule].minibatches != "never" else {}
        _assert_the_cpus(settings_of(network, **{**batches, "optimizer": rule, "schedule": "cosine"}))


@pytest.mark.parametrize(
    ("network", "training"),
    [
        ({"depth": 3, "width": 6}, {"weight_decay": 0.1}),
        ({"depth": 3, "width": 6}, {"dtype": "float32", "weight_decay": 1e-6, **BATCHES}),
        (
            {"depth": 3, "width": 60, "activation": "tanh"},
            {**BATCHES, "batch_size": 2, "batch_order": "cyclic"},
        ),
        ({"depth": 3, "width": 6, "activation": "gelu", "parameterization": "mup"}, {"optimizer": "adamw"}),
        ({"depth": 2, "width": 6, "activation": "relu"}, {"loss": "huber", "huber_delta": 0.5}),
    ],
)
def test_every_way_to_a_gradient_gives_the_cpus_numbers_on_a_device(network, training):
    _assert_the_cpus(settings_of(network, **training))


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_of_layers_train_on_a_device_to_the_cpus_numbers(kind):
    data, network = NETWORKS[kind]
    settings = settings_of(data=data, optimizer="adam", batch_size=5)
    settings["network"] = {"kind": kind, **network}
    _assert_the_cpus(settings)


def test_weights_that_are_kept_and_lanes_that_leave_are_the_cpus():
    settings = settings_of(measure={"weights": [0, 6]}, layers={"2": {"learning_rate": 0.01}}, weight_decay=0.3)
    fast = settings_of(measure={"weights": [0, 6]}, layers={"2": {"learning_rate": 1e9}}, weight_decay=0.3)
    stack = Stack((Lane(settings, 0), Lane(fast, 1), Lane(settings, 2)))
    here = list(train(stack))
    with AbsentGPU():
        there = list(train(stack, "cuda:0"))
    for one, other in zip(here, there, strict=True):
        assert [(e.lane, e.state, e.step) for e in one.ended] == [(e.lane, e.state, e.step) for e in other.ended]
    assert {end.state for block in there for end in block.ended} == {"diverged", "completed"}
    kept = [[decoded(file)[0] for block in blocks for *_, file in block.weights] for blocks in (here, there)]
    assert len(kept[0]) == 5
    for one, other in zip(*kept, strict=True):
        for name, array in one.items():
            np.testing.assert_allclose(other[name], array, rtol=1e-9)


@pytest.mark.parametrize("rule", ["sgd", "adam", "gradient_flow"])
def test_a_checkpoint_goes_on_to_the_same_numbers_on_either_device(rule):
    own = {"horizon": 0.005} if rule == "gradient_flow" else {**BATCHES, "dtype": "float32"}
    network = {"depth": 2, "width": 4, "activation": "tanh", "bias": True}
    settings = settings_of(network, measure={"metrics": ["train_loss"]}, **{**own, "optimizer": rule})
    blocks = _blocks(settings, "cuda:0", block_seconds=0.0, checkpoint_seconds=0.0)
    saved = next(block for block in blocks[len(blocks) // 2 :] if block.checkpoints).checkpoints
    files, step = {lane: file for lane, _, file in saved}, saved[0][1]
    for device, within in (("cuda:0", 1e-12), ("cpu", 1e-5)):
        resumed = _blocks(settings, device, files)
        np.testing.assert_allclose(_numbers(resumed), _numbers(blocks, step), rtol=within, atol=1e-9)


def _cost_of_steps(settings: Any, lanes: int) -> tuple[dict[str, int], dict[str, int]]:
    """Launches of two steps, and what was waited for in six, over the end of an epoch."""
    with AbsentGPU() as gpu, torch.inference_mode():
        moved = moving(settings, lanes)
        moved.advance(1)
        gpu.reset()
        for _ in range(2):
            moved.advance(1)
        launches = dict(gpu.launches)
        for _ in range(4):
            moved.advance(1)
        return launches, dict(gpu.waits)


@pytest.mark.parametrize("case", STEPPED)
def test_a_step_launches_as_much_for_many_networks_as_for_few_and_waits_for_nothing(case, monkeypatch):
    # as if the networks were larger: a core's cache holds one
    monkeypatch.setattr("nfa_kernels.networks._CACHED_BYTES", 1)
    few, many = (_cost_of_steps(stepped(case), lanes) for lanes in (2, 9))
    assert few[0] == many[0]
    assert few[1] == many[1] == {}


def test_the_blocks_of_a_cores_cache_would_be_launched_one_by_one(monkeypatch):
    monkeypatch.setattr("nfa_kernels.networks._CACHED_BYTES", 1)
    monkeypatch.setattr(at_once, "is_cached", lambda like: True)
    few, many = (_cost_of_steps(stepped("relu"), lanes)[0] for lanes in (2, 9))
    assert sum(many.values()) > 2 * sum(few.values())


def test_a_measurement_waits_a_few_times_whatever_the_stack():
    measure = {"metrics": list(names.DEFAULT_METRICS)}
    waits = []
    for lanes in (2, 9):
        for steps in ([0, 1, 2], [0, 2]):
            settings = settings_of({"depth": 3, "width": 6, "activation": "relu"}, steps=2)
            settings["measure"] = {**settings["measure"], **measure, "steps": steps}
            with AbsentGPU() as gpu:
                [*train(Stack(tuple(Lane(settings, seed) for seed in range(lanes))), "cuda:0")]
                waits.append(sum(gpu.waits.values()))
    few, many = waits[0] - waits[1], waits[2] - waits[3]
    assert 0 < many <= few + 6 and many < 30
