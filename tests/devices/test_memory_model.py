"""What the memory model says of a stack on a device, against the bytes that one holds in training and measuring."""

from typing import Any

import pytest
from absent_gpu import AbsentGPU
from absent_graphs import absent_graphs

from nfa_kernels import at_once
from nfa_kernels.cost import DeviceMemory
from service.grid import cost
from service.grid.canonical import canonical
from service.grid.stacking import MAX_LANES, max_lanes
from service.grid.trial_settings import TrialSettings
from workers import captured
from workers.blocks import Lane, Stack
from workers.training import train

GIB = 2**30
VECTORS = {"inputs": 10, "outputs": 4, "spectrum": [2, 1], "test_samples": 20}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "a product": ({**VECTORS, "samples": 100}, {"depth": 3, "width": 32}, {"optimizer": "adam"}),
    "relu": ({**VECTORS, "samples": 256}, {"depth": 3, "width": 32, "activation": "relu"}, {"dtype": "float32"}),
    "minibatches": (
        {**VECTORS, "samples": 600},
        {"depth": 3, "width": 24, "activation": "tanh", "bias": True},
        {"optimizer": "sgd", "batch_size": 16},
    ),
    "wide": ({**VECTORS, "samples": 40}, {"depth": 3, "width": 128, "activation": "gelu"}, {"dtype": "float32"}),
    "convnet": (
        {"kind": "digits", "samples": 12, "layout": "image"},
        {"kind": "convnet", "depth": 2, "channels": 4, "kernel": 3, "stride": 2},
        {"optimizer": "adam"},
    ),
    "transformer": (
        {"kind": "modular_addition", "modulus": 5, "encoding": "tokens"},
        {"kind": "transformer", "depth": 1, "width": 8, "heads": 2, "mlp_width": 16, "norm": "rms"},
        {"optimizer": "adam"},
    ),
}


def _settings(case: str) -> dict[str, Any]:
    data, network, training = CASES[case]
    document = {
        **{"data": data, "network": network, "training": {"steps": 2, "learning_rate": 0.01, **training}},
        "measure": {"points": 2, "metrics": ["train_loss", "gradient_norm", "alignment", "pearson", "residual"]},
    }
    return canonical(TrialSettings.model_validate(document))


def _held(settings: dict[str, Any], lanes: int) -> int:
    with AbsentGPU() as gpu:
        for _ in train(Stack(tuple(Lane(settings, seed) for seed in range(lanes))), "cuda:0"):
            pass
        return gpu.most_held


@pytest.mark.parametrize("case", CASES)
def test_a_stack_holds_no_more_than_the_model_says_and_not_much_less(case):
    settings = _settings(case)
    shape = cost.shape_of(settings)
    assert shape is not None
    said, held = cost.device_memory(settings, shape).bytes_of(4), _held(settings, 4)
    # of graphs it counts all layers, of which one is measured here
    assert held <= said <= (16 if "kind" in settings["network"] else 6) * held


def test_a_stack_with_captured_steps_fits_the_memory_of_which_stacks_are_sized_to_half(monkeypatch):
    monkeypatch.setenv(captured.SWITCH, "1")
    monkeypatch.setattr(captured, "SETTLED_STEPS", 2)
    settings = _settings("a product")
    settings["training"]["steps"] = 8
    shape = cost.shape_of(settings)
    assert shape is not None
    said = cost.device_memory(settings, shape).bytes_of(4)
    with AbsentGPU() as gpu, absent_graphs(gpu) as graphs:
        assert [*train(Stack(tuple(Lane(settings, seed) for seed in range(4))), "cuda:0")][-1].is_captured
    assert graphs.counts["captured"] == 1 and said < gpu.most_held < 1.5 * said


def test_more_networks_than_a_block_has_are_measured_in_no_more_memory_than_a_few(monkeypatch):
    settings = _settings("minibatches")
    shape = cost.shape_of(settings)
    assert shape is not None
    monkeypatch.setattr(at_once, "DEVICE_BYTES", 1 << 20)
    monkeypatch.setattr("nfa_kernels.cost.DEVICE_BYTES", 1 << 20)
    memory = cost.device_memory(settings, shape)
    assert 12 * memory.measured > memory.most_measured
    assert _held(settings, 12) <= memory.bytes_of(12) < 12 * (memory.lane + memory.measured)


@pytest.mark.parametrize("memory_bytes", [1, 1_000, 12_345, 100_000])
def test_as_many_networks_as_fit_are_within_and_one_more_is_not(memory_bytes):
    memory = DeviceMemory(lane=100, measured=50, most_measured=1_000)
    lanes = memory.lanes_within(memory_bytes)
    assert lanes <= 0 or memory.bytes_of(lanes) <= memory_bytes
    assert memory.bytes_of(max(lanes, 0) + 1) > memory_bytes


def test_stacks_of_a_gpu_are_as_large_as_half_of_its_memory_allows():
    settings = _settings("wide")
    shape = cost.shape_of(settings)
    assert shape is not None
    few, many = (max_lanes(settings, None, memory) for memory in (GIB, 4 * GIB))
    assert 1 < few < many < MAX_LANES
    assert cost.device_memory(settings, shape).bytes_of(many) <= 2 * GIB
    assert max_lanes(settings, None, 10**6) == 1
    assert max_lanes(_settings("a product"), None, 80 * GIB) == MAX_LANES
