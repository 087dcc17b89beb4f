"""Data and weights of a stack for a device: drawn by all cores, to the same bits; kept weights in parts."""

import threading
from typing import Any

import pytest
import torch
from absent_gpu import AbsentGPU

from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers import preparing, training
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

    def draw(lane: Lane) -> tuple[torch.Tensor, ...]:
        if lane.seed < 2:
            together.wait()  # passed by two threads at once alone
        return tuple(map(torch.tensor, (lane.seed, threading.get_ident(), torch.get_num_threads())))

    with AbsentGPU() as gpu:
        seeds, threads, counts = (array.tolist() for array in drawn(draw, lanes, gpu.device))
    assert seeds == list(range(8))
    assert threading.get_ident() not in threads and set(counts) == {1}
    _, threads, _ = drawn(draw, stack.lanes[2:], torch.device("cpu"))
    assert set(threads.tolist()) == {threading.get_ident()}


def test_an_error_while_drawing_for_a_device_is_the_first_lanes_own():
    def draw(lane: Lane) -> tuple[torch.Tensor, ...]:
        if lane.seed > 5:
            raise ValueError(f"seed {lane.seed}")
        return (torch.tensor(lane.seed),)

    with pytest.raises(ValueError, match="seed 6"), AbsentGPU() as gpu:
        drawn(draw, _stack(12).lanes, gpu.device)


def test_what_was_drawn_goes_to_a_device_while_a_bounded_part_of_the_rest_is_drawn(monkeypatch):
    monkeypatch.setattr(preparing, "_PART_LANES", 3)
    monkeypatch.setattr(preparing, "_PARTS_AHEAD", 2)
    begun, at_sending, may_go = list[int](), list[int](), threading.Event()
    whole = preparing.sent

    def draw(lane: Lane) -> tuple[torch.Tensor, ...]:
        begun.append(lane.seed)
        if lane.seed == 4:
            assert may_go.wait(10)  # drawn once something was sent
        return torch.full((2,), lane.seed), torch.full((1, 3), 10.0 * lane.seed)

    def sent(array: torch.Tensor, device: torch.device) -> torch.Tensor:
        at_sending.append(len(begun))
        may_go.set()
        return whole(array, device)

    monkeypatch.setattr(preparing, "sent", sent)
    with AbsentGPU() as gpu:
        numbers, tens = drawn(draw, _stack(20).lanes, gpu.device)
        assert torch.equal(numbers.cpu(), torch.arange(20)[:, None].expand(-1, 2))
        assert torch.equal(tens.cpu(), 10.0 * torch.arange(20)[:, None, None].expand(-1, 1, 3))
    # a part more is asked for once a part has been taken
    assert at_sending[0] <= 3 * (2 + 1) and len(at_sending) == 2 * 7


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_networks_some_of_which_share_their_data_have_each_its_own(device):
    lanes = tuple(lane for seed in (7, 3, 7, 5, 3) for lane in _stack(2, seed=seed).lanes)
    wanted = [prepared(Stack((lane,)), torch.device("cpu"), ["train_loss"]).x[0] for lane in lanes]
    with torch.inference_mode(), AbsentGPU():
        found = prepared(Stack(lanes), torch.device(device), ["train_loss"]).x.cpu()
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))


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
