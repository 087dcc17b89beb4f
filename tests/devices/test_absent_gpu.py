"""What stands for a device in the tests refuses and counts as a device would."""

import pytest
import torch
from absent_gpu import AbsentGPU, OtherDevice


@pytest.fixture
def gpu():
    with AbsentGPU() as device:
        yield device


def test_numbers_come_back_as_they_went(gpu):
    array = torch.arange(12.0).reshape(3, 4)
    moved = array.to(gpu.device)
    assert moved.device == torch.device("cuda:0") and torch.equal((2 * moved @ moved.mT).cpu(), 2 * array @ array.mT)


@pytest.mark.parametrize(
    "mix",
    [
        lambda there, here: there + here,
        lambda there, here: torch.bmm(there[None], here[None]),
        lambda there, here: torch.cat([here, there]),
        lambda there, here: torch.where(there > 0, here, there),
        lambda there, here: here[torch.zeros(2, dtype=torch.long, device=there.device)],
        lambda there, here: torch.add(there, there, out=here),
    ],
)
def test_what_cuda_refuses_to_mix_is_refused(gpu, mix):
    here = torch.ones(3, 3)
    with pytest.raises(OtherDevice):
        mix(here.to(gpu.device), here)


@pytest.mark.parametrize(
    ("ask", "waits"),
    [
        (lambda array: array.cpu(), 1),
        (lambda array: array.tolist(), 1),
        (lambda array: float(array[0, 0]), 1),
        (lambda array: bool((array > 0).all()), 1),
        (lambda array: array[array > 0], 1),
        (lambda array: array.nonzero(), 1),
        (lambda array: torch.equal(array, array), 1),
        (lambda array: torch.ones(3).to(array.device), 1),
        (lambda array: torch.ones(3).pin_memory().to(array.device, non_blocking=True), 0),
        (lambda array: array.to(torch.float64).square().sum(-1).sqrt(), 0),
        (torch.linalg.eigh, 0),
    ],
)
def test_what_waits_for_the_device_is_counted(gpu, ask, waits):
    array = torch.ones(3, 3).to(gpu.device)
    gpu.reset()
    ask(array)
    assert sum(gpu.waits.values()) == waits


def test_launches_are_counted_and_views_are_none(gpu):
    array = torch.ones(3, 4).to(gpu.device)
    gpu.reset()
    _ = array.mT[:, 1:].unsqueeze(0).expand(2, -1, -1)
    assert not gpu.launches
    with torch.inference_mode():
        _ = array @ array.mT + 1
    assert dict(gpu.launches) == {"mm": 1, "add": 1}


def test_memory_is_counted_until_it_is_freed(gpu):
    array = torch.ones(10, dtype=torch.float64).to(gpu.device)
    view, other = array[2:], array * 2
    assert gpu.held == 160
    del array, other
    assert (gpu.held, gpu.most_held) == (80, 160)
    del view
    assert gpu.held == 0


def test_derivatives_of_torchs_own_are_taken_there(gpu):
    array = torch.full((3,), 2.0, device=gpu.device).requires_grad_()
    (found,) = torch.autograd.grad(array.square().sum(), array)
    assert found.device == gpu.device and found.tolist() == [4.0, 4.0, 4.0]
