"""How trials that any trainer may have are divided between trainers on CPUs and on GPUs, in simulated time."""

import heapq
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from workers.division import UNKNOWN, Kind, Timing, part_of
from workers.sizing import Device
from workers.speeds import Speeds

CPUS = 15
BLOCK = 2.0
"""Seconds after which a stack that runs tells how far it has come."""
KINDS: tuple[Device, ...] = ("cpu", "gpu")
MODEL: dict[Device, Timing] = {"cpu": Timing(0.5, 10.0, 64, UNKNOWN), "gpu": Timing(0.5, 0.5, 4096, UNKNOWN, 10.0)}
"""What the cost model expects: a GPU of 20 times a CPU."""


def truth(ratio: float, start: float = 0.5, scale: float = 1.0) -> dict[Device, Timing]:
    """How long stacks really take, where a GPU is so many times as fast."""
    cpu = Timing(start, 10.0 * scale, 64)
    return {"cpu": cpu, "gpu": Timing(start, cpu.each / ratio, 4096)}


def best(waiting: int, real: dict[Device, Timing], cpus: int = CPUS, gpus: int = 1) -> float:
    """Makespan of the best split, every trainer's part known from the start: tried one by one."""

    def alone(timing: Timing, lanes: int) -> float:
        return -(-lanes // timing.most) * timing.start + lanes * timing.each

    return min(
        max(alone(real["gpu"], -(-on_gpu // gpus)), alone(real["cpu"], -(-(waiting - on_gpu) // cpus)))
        for on_gpu in range(waiting + 1)
    )


def makespan(
    waiting: int, real: dict[Device, Timing], speeds: Speeds, *, keys: int = 1, first: Device = "cpu"
) -> float:
    """Seconds until trainers that ask for work one after the other have trained everything."""
    seats: list[Device] = ["cpu"] * CPUS
    seats.insert(0 if first == "gpu" else CPUS, "gpu")
    left = {f"key {number}": waiting for number in range(keys)}
    ends: dict[int, float] = {}
    events: list[tuple[float, int, int, str, int]] = []
    order, now = itertools.count(), 0.0
    while any(left.values()) or ends:
        for seat, device in enumerate(seats):
            key = next((key for key, count in left.items() if count), None)
            if seat in ends or key is None:
                continue
            kinds = {
                kind: Kind(
                    speeds.timing(key, kind, MODEL[kind]),
                    np.array([ends.get(other, now) - now for other, its in enumerate(seats) if its == kind]),
                )
                for kind in KINDS
            }
            part = part_of(device, left[key], kinds, sum(count > 0 for count in left.values()))
            if not part.lanes:
                continue
            lanes = min(left[key], MODEL[device].most, -(-part.lanes // part.trainers))
            left[key] -= lanes
            took = real[device].seconds(lanes)
            ends[seat] = now + took
            for at in {min(BLOCK, took), took}:
                heapq.heappush(events, (now + at, next(order), seat, key, lanes))
        assert events, "trials wait, and no trainer will ever take them"
        now, _, seat, key, lanes = heapq.heappop(events)
        device = seats[seat]
        speeds.observe(key, device, MODEL[device], lanes, real[device].seconds(lanes))
        if ends[seat] <= now:
            del ends[seat]
    return now


def known(real: dict[Device, Timing], sizes: tuple[int, ...] = (1, 40)) -> Speeds:
    """Speeds that have been seen."""
    speeds = Speeds()
    for device, lanes in itertools.product(KINDS, sizes):
        speeds.observe("key 0", device, MODEL[device], lanes, real[device].seconds(lanes))
    return speeds


RATIOS = (2, 5, 20, 50, 200)


def in_turn(numbers: Sequence[int], others: Sequence[Any]) -> list[tuple[int, int, Any]]:
    """Every number with every ratio, and each of the others with every number and with every ratio."""
    return [
        (number, ratio, others[(row + column) % len(others)])
        for row, number in enumerate(numbers)
        for column, ratio in enumerate(RATIOS)
    ]


@pytest.mark.parametrize(("waiting", "ratio", "first"), in_turn([1, 3, 16, 40, 100, 400, 1_600, 10_000], KINDS))
def test_fifteen_cpus_and_a_gpu_whose_speeds_were_seen_are_near_the_best_split(waiting, ratio, first):
    real = truth(ratio)
    assert makespan(waiting, real, known(real), first=first) <= 1.3 * best(waiting, real)


@pytest.mark.parametrize("start", [60.0, 600.0])
@pytest.mark.parametrize("waiting", [16, 400, 1_600])
def test_a_gpu_whose_stacks_take_as_long_whatever_their_lanes_is_used_for_what_it_is_worth(waiting, start):
    real = truth(20) | {KINDS[1]: Timing(start, 0.001, 4096)}
    assert makespan(waiting, real, known(real)) <= 1.3 * best(waiting, real)


@pytest.mark.parametrize(("waiting", "ratio", "scale"), in_turn([40, 400, 1_600, 10_000], [0.2, 1.0, 30.0]))
def test_where_no_speed_was_seen_nothing_costs_more_than_a_trial_on_a_cpu_beyond_that(waiting, ratio, scale):
    real = truth(ratio, scale=scale)
    found, lower = makespan(waiting, real, Speeds()), best(waiting, real)
    assert found <= max(1.3 * lower, lower + real["cpu"].seconds(1))


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("ratio", [2, 5, 20, 50, 200])
def test_few_trials_of_which_no_speed_was_seen_are_begun_on_cpus_only_where_a_gpu_may_not_have_them_sooner_done(
    ratio, scale, first
):
    real = truth(ratio, scale=scale)
    assert makespan(40, real, Speeds(), first=first) <= 1.35 * best(40, real)


@pytest.mark.parametrize("ratio", [2, 5])
def test_cpus_are_not_starved_where_the_first_stack_of_a_gpu_is_slow(ratio):
    real = truth(ratio)
    assert makespan(16, real, Speeds()) <= 1.5 * best(16, real)


def test_a_cpu_waits_for_the_first_stack_of_a_gpu_no_longer_than_for_a_trial():
    def part(busy: float) -> int:
        kinds: dict[Device, Kind] = {
            "cpu": Kind(MODEL["cpu"], np.zeros(15)),
            "gpu": Kind(MODEL["gpu"], np.array([busy])),
        }
        return part_of("cpu", 40, kinds).lanes

    # it should have been over for so long
    assert part(0.0) == part(5.0) == 0
    assert part(11.0) > 0


@pytest.mark.parametrize("believed", [2, 200])
@pytest.mark.parametrize("ratio", [2, 20, 200])
def test_what_was_seen_of_other_networks_is_corrected_by_these(ratio, believed):
    real, speeds = truth(ratio), Speeds()
    for device, lanes in itertools.product(KINDS, (1, 40)):
        speeds.observe("another key", device, MODEL[device], lanes, truth(believed)[device].seconds(lanes))
    assert makespan(1_600, real, speeds) <= 1.3 * best(1_600, real)


@pytest.mark.parametrize("ratio", [2, 20, 200])
@pytest.mark.parametrize("waiting", [1, 10])
def test_many_keys_of_few_trials_are_divided_as_one_of_many(waiting, ratio):
    real, speeds = truth(ratio), Speeds()
    for number, device, lanes in itertools.product(range(200), KINDS, (1, 40)):
        speeds.observe(f"key {number}", device, MODEL[device], lanes, real[device].seconds(lanes))
    apart = {device: timing._replace(most=waiting) for device, timing in real.items()}
    assert makespan(waiting, real, speeds, keys=200) <= 1.3 * best(200 * waiting, apart)


@pytest.mark.parametrize("device", KINDS)
def test_a_kind_that_is_alone_takes_everything(device):
    kind = Kind(MODEL[device], np.array([0.0, 3.0, 700.0]))
    assert part_of(device, 1_000, {device: kind}).lanes == 1_000


def test_an_idle_trainer_leaves_to_others_only_what_they_have_done_sooner():
    slow, fast = Timing(0.0, 100.0, 64), Timing(0.0, 1.0, 64)

    def part(busy: float) -> int:
        return part_of("cpu", 2, {"cpu": Kind(slow, np.zeros(2)), "gpu": Kind(fast, np.array([busy]))}).lanes

    assert part(busy=0.0) == part(busy=90.0) == 0
    assert part(busy=150.0) == 2


def test_two_sizes_of_stacks_tell_what_a_lane_takes_and_newer_ones_replace_them():
    speeds, model = Speeds(), MODEL["gpu"]
    speeds.observe("key", "gpu", model, 10, 30.0)
    speeds.observe("key", "gpu", model, 100, 120.0)
    assert speeds.timing("key", "gpu", model)[:2] == (20.0, 1.0)
    speeds.observe("key", "gpu", model, 100, 30.0)
    assert speeds.timing("key", "gpu", model)[:2] == (30.0, 0.0)
    speeds.observe("key", "gpu", model, 110, 66.0)
    assert speeds.timing("key", "gpu", model).seconds(110) == pytest.approx(66.0)


def test_what_was_seen_of_one_kind_tells_how_fast_the_machines_of_others_may_be():
    speeds = Speeds()
    speeds.observe("key", "cpu", MODEL["cpu"], 4, 3 * MODEL["cpu"].seconds(4))
    assert speeds.timing("key", "gpu", MODEL["gpu"]).seconds(1) == pytest.approx(3 * MODEL["gpu"].seconds(1))
