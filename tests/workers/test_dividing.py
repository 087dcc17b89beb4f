"""Which trials a dispatcher's trainers on CPUs and on GPUs get of a store's queue."""

import functools
import time

import pyarrow as pa
import pytest

from service.grid.expansion import expand
from service.grid.stacking import stack_key
from service.store import leases, submissions
from workers.blocks import Block, LaneEnd
from workers.dividing import Dividing
from workers.pool import Pool, Seat
from workers.running import Given, Running
from workers.shapes import Shapes
from workers.sizing import Wanted
from workers.speeds import expected

LEASE = 30.0


def _grid(device, seeds, inputs=8):
    return expand(
        {
            "trial": {"data": {"inputs": inputs, "samples": 50}, "training": {"steps": 10_000_000, "device": device}},
            "seeds": list(range(seeds)),
        }
    )


def _pool(cpus, gpus):
    pool = Pool(block_seconds=2.0, checkpoint_seconds=60.0, step_deadline=60.0)
    for device, count, memory in (("cpu", cpus, None), ("gpu", gpus, 80 * 2**30)):
        about = {"memory_bytes": memory, "host": "here", "node": "n"}
        # what is leased is what is looked at: no trainer is ever told
        pool.seats += [Seat(None, None, device, about) for _ in range(count)]
    return pool


def _filled(store, pool, dividing):
    """Give every idle seat what it gets, in their order; lanes by kind."""
    lanes = {"cpu": [], "gpu": []}
    for seat in [seat for seat in pool.seats if seat.stream is None]:

        def lease(devices, but, seat=seat):
            return leases.lease_stacks(
                store,
                "one",
                lease_seconds=LEASE,
                choose=functools.partial(dividing.lanes, seat),
                enough=functools.partial(dividing.enough, seat),
                more=functools.partial(dividing.more, seat),
                devices=devices,
                but=but,
            )

        stacks = dividing.chosen(seat, lease)
        if stacks:
            seat.stream, seat.payload = "stacks", Given(tuple(Running(tuple(trials)) for trials in stacks))
            dividing.took(seat, seat.payload)
        lanes[seat.device].append(sum(map(len, stacks)))
    return lanes


@pytest.fixture
def filled(store):
    """Lanes that 15 trainers on CPUs and one on a GPU get at first of grids that were submitted."""

    def fill(*grids, cpus=15, gpus=1, elsewhere=(0, 0)):
        for grid in grids:
            submissions.create_experiment(store, grid)
        pool = _pool(cpus, gpus)
        dividing = Dividing(pool, Shapes(store))
        dividing.elsewhere = Wanted(*elsewhere)
        return _filled(store, pool, dividing)

    return fill


@pytest.mark.parametrize("seeds", [100, 800])
def test_work_for_any_trainer_is_begun_on_cpus_and_gpus_alike(store, seeds):
    submissions.create_experiment(store, _grid("auto", seeds))
    pool = _pool(15, 1)
    dividing, gpu = Dividing(pool, Shapes(store)), pool.seats[-1]
    first = _filled(store, pool, dividing)
    assert 1 <= first["gpu"][0] < seeds
    if seeds == 100:
        # a GPU may turn out to have all of these sooner done than a CPU has one
        assert not any(first["cpu"])
        settings = _grid("auto", 1).points[0].settings
        model = expected(settings, None, "gpu", gpu.memory_bytes)
        dividing.speeds.observe(stack_key(settings), "gpu", model, first["gpu"][0], model.seconds(first["gpu"][0]))
    lanes = first["cpu"] if any(first["cpu"]) else _filled(store, pool, dividing)["cpu"]
    assert all(lanes) and max(lanes) <= 7
    # some is left for when it is known how fast they are
    assert sum(lanes) + first["gpu"][0] < seeds


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_work_for_one_kind_is_all_given_to_it(filled, device):
    lanes = filled(_grid(device, 150))
    other = {"cpu": "gpu", "gpu": "cpu"}[device]
    assert sum(lanes[device]) == 150 and all(lanes[device])
    assert sum(lanes[other]) == 0


def test_a_trainer_alone_of_its_kind_gets_all_there_is(filled):
    assert filled(_grid("auto", 50), cpus=0, gpus=1) == {"cpu": [], "gpu": [50]}


def test_a_cpu_that_leaves_trials_to_the_gpu_trains_what_it_alone_may_have(store):
    for device, seeds in (("auto", 2), ("cpu", 1)):
        submissions.create_experiment(store, _grid(device, seeds, inputs=8 + (device == "cpu")))
    pool = _pool(1, 1)
    dividing = Dividing(pool, Shapes(store))
    settings = _grid("auto", 1).points[0].settings
    for seat, pace in zip(pool.seats, (1.0, 0.01), strict=True):
        _see(dividing, seat, settings, pace)
    assert _filled(store, pool, dividing) == {"cpu": [1], "gpu": [2]}


def test_a_cpu_trains_what_stands_behind_what_it_leaves_to_the_gpu(store):
    grids = [_grid("auto", 1, inputs) for inputs in (8, 9, 10)]
    for grid in grids:
        submissions.create_experiment(store, grid)
    pool = _pool(1, 1)
    dividing = Dividing(pool, Shapes(store))
    for grid, pace in zip(grids, (0.0001, 0.0001, 100.0), strict=True):
        settings = grid.points[0].settings
        _see(dividing, pool.seats[0], settings, 1.0)
        _see(dividing, pool.seats[1], settings, pace)
    seat = pool.seats[0]
    assert _filled(store, pool, dividing)["cpu"] == [1]
    [given] = seat.payload.stacks
    assert given.trials[0].settings["data"]["inputs"] == 10


def test_nobody_waits_for_a_gpu_that_trains_what_it_alone_may_have(store):
    submissions.create_experiment(store, _grid("gpu", 1, inputs=9))
    pool = _pool(1, 1)
    dividing = Dividing(pool, Shapes(store))
    for seat, pace in zip(pool.seats, (1.0, 0.0001), strict=True):
        _see(dividing, seat, _grid("auto", 1).points[0].settings, pace)
    assert _filled(store, pool, dividing) == {"cpu": [0], "gpu": [1]}
    submissions.create_experiment(store, _grid("auto", 1))
    assert _filled(store, pool, dividing)["cpu"] == [1]


def test_a_dispatcher_without_gpus_leaves_a_part_to_the_one_that_has_them_and_waits_for_nobody(filled):
    alone = filled(_grid("auto", 800), cpus=4, gpus=0)
    assert sum(alone["cpu"]) == 800
    shared = filled(_grid("auto", 800, inputs=9), cpus=4, gpus=0, elsewhere=(4, 1))
    assert 4 <= sum(shared["cpu"]) <= 400
    assert filled(_grid("auto", 1, inputs=10), cpus=1, gpus=0, elsewhere=(0, 1)) == {"cpu": [1], "gpu": []}


def test_small_stacks_are_given_to_a_trainer_together_as_long_as_every_trainer_gets_some(store):
    shapes = {"trial": {"data": {"inputs": 8, "samples": 50}, "training": {"steps": 100}}, "seeds": 2}
    submissions.create_experiment(store, expand(shapes | {"axes": {"network.width": list(range(4, 44))}}))
    pool = _pool(2, 0)
    dividing, counts, trials = Dividing(pool, Shapes(store)), [], 0
    while lanes := sum(_filled(store, pool, dividing)["cpu"]):
        counts += [len(seat.payload.stacks) for seat in pool.seats if seat.payload]
        trials += lanes
        for seat in pool.seats:
            seat.stream = seat.payload = None
    assert trials == 80 and counts[0] > 2
    # the last ones are given one by one, so that trainers end together
    assert counts[-8:] == [1] * 8


def test_a_stack_that_runs_tells_when_it_will_end(store):
    submissions.create_experiment(store, _grid("auto", 1))
    [one] = leases.lease_stack(store, "one", lease_seconds=LEASE, choose=lambda _s, _w: 1)
    running = Running((one,), started=time.monotonic() - 12.0)
    assert running.left_seconds() is None and running.whole(is_last=False) is None
    running.lane_steps, running.rows, running.training_seconds = 1_000_000, 10_000, 10.0
    # a tenth of the steps took 10 s, and two seconds went to its start
    assert running.left_seconds() == pytest.approx(90.0)
    told = running.whole(is_last=False)
    assert told is not None and told.seconds == pytest.approx(102.0, abs=0.5)
    # a checkpoint on the way is where it would go on, not where it began
    running.trials = (one._replace(checkpoint_step=1_000_000),)
    assert running.left_seconds() == pytest.approx(90.0)
    running.drop(frozenset({0}))
    assert running.left_seconds() is None and running.whole(is_last=False) is None


def test_what_is_left_of_a_checkpoint_is_not_taken_for_all_of_a_trial(store):
    submissions.create_experiment(store, _grid("auto", 1))
    [one] = leases.lease_stack(store, "one", lease_seconds=LEASE, choose=lambda _s, _w: 1)
    pool = _pool(1, 0)
    dividing, [seat], none = Dividing(pool, Shapes(store)), pool.seats, pa.RecordBatch.from_pydict({"lane": []})
    running = Running((one._replace(checkpoint_step=9_000_000),), started=time.monotonic() - 11.0)
    block = Block(none, none, none, (LaneEnd(0, "completed", 10_000_000),), 1_000_000, 10.0, 0.0, last=True)
    running.counted(block)
    running.rows = 1
    dividing.heard(seat, running, block)
    model = expected(one.settings, None, "cpu", None)
    assert dividing.speeds.timing(one.stack_key, "cpu", model).seconds(1) == pytest.approx(101.0, abs=0.5)


def _see(dividing, seat, settings, pace):
    """Let a trainer's kind have been seen with such trials, so many times as slow as expected of a CPU."""
    model = expected(settings, None, "cpu", None)
    for lanes in (1, 10):
        dividing.speeds.observe(stack_key(settings), seat.device, model, lanes, pace * model.seconds(lanes))
