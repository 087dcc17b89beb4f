"""Data and weights of a stack for a device: drawn by all cores, to the same bits; kept weights in parts."""

import threading
from typing import Any

import pytest
import torch
from absent_gpu import AbsentGPU

from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers import training
from workers.blocks import Lane, Stack
from workers.preparing import drawn, initial_weights, prepared
from workers.training import train


def _stack(lanes: int, measure: dict[str, Any] | None = None, **data: Any) -> Stack:
    document = {
        "data": {"samples": 30, "inputs": 6, "outputs": 3, "spectrum": [2, 1], **data},
        "network": {"depth": 2, "width": 7, "activation": "relu"},
        "training": {"steps": 3, "learning_rate": 0.01},
        "measure": {"points": 2, "metrics": ["train_loss"], **(measure or {})},
    }
    settings = canonical(TrialSettings.model_validate(document))
    return Stack(tuple(Lane(settings, seed) for seed in range(lanes)))


def test_what_all_cores_draw_for_a_device_is_what_one_draws_bit_for_bit():
    stack = _stack(12)

    def made(device: torch.device) -> list[torch.Tensor]:
        ready = prepared(stack, device, ["train_loss"])
        return [array.cpu() for array in (ready.x, ready.y, *initial_weights(stack, ready.network, device))]

    with torch.inference_mode():
        here = made(torch.device("cpu"))
        with AbsentGPU() as gpu:
            there = made(gpu.device)
    assert all(torch.equal(*pair) for pair in zip(here, there, strict=True))


def test_a_device_is_drawn_for_by_several_threads_of_one_core_each_and_a_cpu_by_its_own(monkeypatch):
    monkeypatch.setattr("workers.preparing._cores", lambda: 2)
    stack, together = _stack(16), threading.Barrier(2, timeout=10)
    lanes = stack.lanes[:8]

    def draw(lane: Lane) -> tuple[int, int, int]:
        if lane.seed < 2:
            together.wait()  # passed by two threads at once alone
        return lane.seed, threading.get_ident(), torch.get_num_threads()

    found = drawn(draw, lanes, AbsentGPU.device)
    assert [seed for seed, *_ in found] == list(range(8))
    assert threading.get_ident() not in {thread for _, thread, _ in found} and {count for *_, count in found} == {1}
    assert {thread for _, thread, _ in drawn(draw, stack.lanes[2:], torch.device("cpu"))} == {threading.get_ident()}


def test_an_error_while_drawing_for_a_device_is_the_first_lanes_own():
    def draw(lane: Lane) -> int:
        if lane.seed > 5:
            raise ValueError(f"seed {lane.seed}")
        return lane.seed

    with pytest.raises(ValueError, match="seed 6"):
        drawn(draw, _stack(12).lanes, AbsentGPU.device)


def test_lanes_with_the_same_data_draw_them_once():
    with torch.inference_mode(), AbsentGPU() as gpu:
        ready = prepared(_stack(12, seed=5), gpu.device, ["train_loss"])
    assert ready.x.shape[0] == 12 and ready.x.stride(0) == 0


def test_kept_weights_of_a_large_stack_come_in_blocks_of_bounded_size(monkeypatch):
    stack = _stack(7, {"weights": [0, 2]})
    whole = [block.weights for block in train(stack)]
    assert sum(map(len, whole)) == 14
    lane = len(whole[0][0][2])
    monkeypatch.setattr(training, "MOST_BYTES", 2 * lane)
    parts = [block.weights for block in train(stack)]
    assert max(map(len, parts)) <= 4
    assert [one for part in parts for one in part] == [one for part in whole for one in part]
