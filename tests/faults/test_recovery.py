"""How long it takes until work goes on after a fault, with the settings that ship. Prints a table; `make soak`."""

import signal
import time
from collections.abc import Callable
from datetime import datetime

import psutil
import pytest
from nemesis import sweep
from processes import wait_until
from scale import in_a_soak

from service.states import TrialState

pytestmark = [in_a_soak, pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)]
LONG = sweep(3_000_000, seeds=4) | {"axes": {"network.depth": [2, 3, 4]}}


@pytest.fixture
def shipped(deployment):
    """A deployment with the settings that ship: two trainers on the head, one on a node beside it; all busy."""
    deployment.pace = {}
    deployment.start(dispatchers=1)
    deployment.kill_raylet()  # a node joins instead
    wait_until(lambda: len(deployment.trainers()) == 3)
    deployment.client.submit(LONG)
    wait_until(lambda: len(deployment.dispatchers[0].events("stack_started")) >= 3)
    return deployment


def _logged(deployment, event: str, since: float) -> list[tuple[float, set[str]]]:
    """Seconds from a moment until the dispatcher logged an event, and the trials that each names."""
    found = []
    for one in deployment.dispatchers[0].events(event):
        after = datetime.fromisoformat(one["timestamp"]).timestamp() - since
        if after > 0:
            found.append((after, set(one.get("trial", ()))))
    return found


def _seconds(what: Callable[[], object]) -> float:
    began = time.monotonic()
    wait_until(what, seconds=90)
    return time.monotonic() - began


def _until_logged(deployment, event: str, since: float) -> float:
    """Seconds until an event."""
    return wait_until(lambda: deployment.tend() or _logged(deployment, event, since), seconds=90)[0][0]


def _until_trained_again(deployment, since: float) -> float:
    """Seconds until trials that a trainer has lost since then are on a trainer again."""

    def first() -> float | None:
        deployment.tend()
        lost = set[str]().union(*(trials for _, trials in _logged(deployment, "trainer_died", since)))
        started = _logged(deployment, "stack_started", since)
        return min((at for at, trials in started if trials & lost), default=None)

    return wait_until(first, seconds=90)


def _nodes(deployment) -> set[str]:
    """Nodes that were given a stack."""
    return {one["node"] for one in deployment.dispatchers[0].events("stack_started")}


def _node_trainer(deployment) -> psutil.Process:
    family = psutil.Process(deployment.node.pid).children(recursive=True)
    return next(one for one in family if one.name().startswith("ray::Trainer"))


def test_recovery_times(shipped):
    print()

    def note(what: str, seconds: float, goal: float) -> None:
        missed = "" if seconds <= goal else "   MISSED"
        print(f"  {what:<56}{seconds:7.2f} s   goal {goal:g} s{missed}", flush=True)

    since = time.time()
    shipped.kill_trainer()
    note("trainer killed, until its stack runs again", _until_trained_again(shipped, since), 2)

    trainer, since = wait_until(lambda: _node_trainer(shipped)), time.time()
    shipped.kill_raylet()
    note("its node killed, until the orphaned trainer is gone", _seconds(lambda: not trainer.is_running()), 5)
    note("its node killed, until its stack waits again", _until_logged(shipped, "trainer_died", since), 5)

    nodes = _nodes(shipped)
    wait_until(lambda: shipped.tend() or _nodes(shipped) - nodes)
    family = psutil.Process(shipped.node.pid).children(recursive=True)
    since = time.time()
    for one in family:
        one.send_signal(signal.SIGSTOP)
    note("a node hangs, until its stack waits again", _until_logged(shipped, "trainer_died", since), 20)
    for one in family:
        one.send_signal(signal.SIGCONT)

    shipped.api.kill()
    note("API killed, until it answers", _seconds(lambda: shipped.tend() or shipped.answers()), 5)
    shipped.kill_database()
    note("database killed, until the API answers", _seconds(shipped.answers), 5)

    since = time.time()
    shipped.kill_dispatcher()
    note("dispatcher killed, until its stacks wait again", _until_logged(shipped, "leases_expired", since), 35)

    since = time.time()
    shipped.client.cancel("e1")
    note("running experiment cancelled, until it is dropped", _until_logged(shipped, "lanes_dropped", since), 2)
    many = shipped.client.submit(sweep(1000, seeds=1667)).id
    note("10,000 queued trials cancelled", _timed(lambda: shipped.client.cancel(many)), 1)

    other = shipped.client.submit(LONG | {"seeds": [7, 8]}).id
    wait_until(lambda: shipped.client.experiment(other).counts[TrialState.RUNNING])
    for one, name in ((shipped.dispatchers[0], "dispatcher"), (shipped.api, "API")):
        one.process.send_signal(signal.SIGTERM)
        note(f"SIGTERM to the {name}, until it has ended", _timed(lambda one=one: one.process.wait(30)), 10)


def _timed(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began
