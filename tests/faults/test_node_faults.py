"""Nodes of a Ray cluster that come and go while a sweep runs: real raylets, killed."""

import signal

import psutil
import pytest
from comparison import LONG_GRID, assert_as_undisturbed
from processes import charged, ended, progress, trainers, wait_for_end, wait_for_rows, wait_until

from service.grid.expansion import expand
from service.store import attempts, cluster, ids, submissions, trials

pytestmark = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


@pytest.fixture
def nodes(ray_cluster, dispatchers):
    """Adds nodes to the session's cluster, all of which is used; what a test leaves of them is killed."""
    del dispatchers.environment["NFA_TRAINERS"]
    before = len(ray_cluster.nodes)
    yield ray_cluster
    for node in ray_cluster.nodes[before:]:
        _kill(node.pid)
        node.wait(20)
    del ray_cluster.nodes[before:]


def _kill(pid):
    """Kill a node: the command that started it and the raylet, which its trainers are children of."""
    process = psutil.Process(pid)
    family = process.children(recursive=True)
    for one in (process, *(one for one in family if one.name() == "raylet")):
        one.kill()
    return family


def _wait_for_trainers(store, count):
    """Wait until the only dispatcher has so many."""
    wait_until(lambda: len(trainers(store)) == count, grown=lambda: progress(store))


def test_a_node_that_joins_is_used_and_one_that_is_lost_costs_nobody_anything(store, dispatchers, nodes):
    dispatcher = dispatchers.start()
    _wait_for_trainers(store, 2)
    joined = nodes.add_node("--num-cpus=1")
    _wait_for_trainers(store, 3)
    known = trainers(store)
    away = {
        about["node"]
        for pid, about in known.items()
        if psutil.Process(pid) in psutil.Process(joined.pid).children(recursive=True)
    }
    submitted = submissions.create_experiment(store, expand(LONG_GRID)).id
    wait_until(lambda: _training(dispatcher) & away, grown=lambda: progress(store))
    lost = [process for process in _kill(joined.pid) if process.pid in known]
    assert len(lost) == 1
    assert psutil.wait_procs(lost, timeout=5)[1] == [], "a lost node's trainer is gone within five seconds"
    wait_until(lambda: dispatcher.events("trainer_died"), seconds=10)
    wait_for_end(store, submitted)
    assert_as_undisturbed(store, submitted)
    assert charged(store) == 0
    listed, _ = trials.list_trials(store, submitted, state=None, where="", sort=None, limit=100, after=None)
    histories = [attempts.list_attempts(store, ids.trial_id(one.row.id)) for one in listed]
    outcomes = {record.outcome for history in histories for record in history[:-1]}
    # a lease may run out while the machine stands still
    assert {"interrupted"} <= outcomes <= {"interrupted", "expired"}
    assert len({record.node for history in histories for record in history} - {None}) == 2
    _wait_for_trainers(store, 2)


def _training(dispatcher):
    """Nodes that stacks were given to which have not ended."""
    over = [one["trial"] for one in dispatcher.events("stack_ended")]
    return {one["node"] for one in dispatcher.events("stack_started") if one["trial"] not in over}


def test_dispatchers_share_a_cluster_and_one_that_goes_leaves_its_part_to_the_other(store, dispatchers, nodes):
    dispatchers.start()
    _wait_for_trainers(store, 2)
    submitted = submissions.create_experiment(store, expand(LONG_GRID)).id
    wait_for_rows(store)
    second = dispatchers.start()
    # the first one's trainer goes on to its stack's end before it is given up
    wait_until(lambda: _parts(store) == [1, 1], grown=lambda: progress(store))
    second.signal(signal.SIGTERM)
    wait_until(lambda: _parts(store) == [2], grown=lambda: progress(store))
    wait_for_end(store, submitted)
    assert_as_undisturbed(store, submitted)
    assert charged(store) == 0


def _parts(store):
    """How many trainers each dispatcher has that are up."""
    return [len(one.resources.get("trainers", ())) for one in cluster.list_dispatchers(store)]


def test_a_trial_that_asks_for_a_gpu_waits_for_one_that_can_be_used_and_holds_nothing_up(
    store, dispatchers, nodes, tiny_grid
):
    grid = tiny_grid(name="on a GPU", priority=5, seeds=1)
    grid["trial"]["training"]["device"] = "gpu"
    on_gpu = submissions.create_experiment(store, expand(grid)).id
    other = submissions.create_experiment(store, expand(tiny_grid(seeds=[7, 8]))).id
    dispatchers.start()
    wait_for_end(store, other)
    assert not ended(store, on_gpu)
    # Ray is told of a GPU that is not there: a slow CPU in its place would be no answer
    nodes.add_node("--num-cpus=1", "--num-gpus=1")
    _wait_for_trainers(store, 3)
    (error,) = [trainer["error"] for trainer in _trainers(store) if "error" in trainer]
    assert "Ray gave this trainer a GPU, and torch" in error and "--num-gpus=0" in error
    after = submissions.create_experiment(store, expand(tiny_grid(seeds=[9, 10]))).id
    wait_for_end(store, after)
    assert not ended(store, on_gpu)


def _trainers(store):
    return [trainer for one in cluster.list_dispatchers(store) for trainer in one.resources.get("trainers", ())]
