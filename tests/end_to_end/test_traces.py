"""A sweep is one trace: the API tells of its request and its root, dispatchers of the stacks, and they never speak."""

import os
import signal

import pytest
from fastapi.testclient import TestClient
from processes import rows, trainers, wait_for_end, wait_until
from receiver import receiving
from told_spans import attributes_of, spans_of

from service.main import create_app
from service.settings import Settings

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.fixture
def receiver():
    with receiving(200) as made:
        yield made


@pytest.fixture
def api(store, receiver):
    with TestClient(create_app(Settings(otlp_endpoint=receiver.address), store), "http://127.0.0.1") as client:
        yield client


@pytest.fixture
def dispatcher(store, dispatchers, receiver):
    # a lease that outlasts a pause of the machine: every trial is leased once
    started = dispatchers.start(
        NFA_OTLP_ENDPOINT=receiver.address, NFA_OTLP_HEADERS="authorization=Bearer%20hunter2", NFA_LEASE_SECONDS="60"
    )
    wait_until(lambda: trainers(store))
    return started


def _named(receiver, name):
    return [span for span in spans_of(receiver) if span.name == name]


def _stacks(receiver, experiment):
    return [span for span in _named(receiver, "stack") if attributes_of(span)["nfa.experiment"] == experiment]


def _outcomes(receiver, experiment):
    return [attributes_of(span)["nfa.outcome"] for span in _stacks(receiver, experiment)]


def test_a_sweep_is_one_trace_with_its_stacks_inside_also_those_that_died_or_were_handed_back(
    store, api, dispatcher, receiver, tiny_grid
):
    # one dispatcher for both, since it takes seconds to start
    _assert_one_span_from_the_request_to_the_last_row(store, api, receiver, tiny_grid)
    grid = tiny_grid(seeds=1, axes={"training.weight_decay": [0.3]})
    grid["trial"] |= {"training": {"steps": 2_000_000}, "measure": {"points": 4_000}}
    before = rows(store)
    api.post("/api/v1/experiments", json=grid)
    wait_until(lambda: rows(store) > before)
    os.kill(min(trainers(store)), signal.SIGKILL)
    wait_until(lambda: "failed" in _outcomes(receiver, "e2"))
    (failed,) = _stacks(receiver, "e2")
    assert failed.status.code == 2 and "died" in failed.status.message
    wait_until(lambda: len(dispatcher.events("stack_started")) == 4)
    dispatcher.signal(signal.SIGTERM)
    assert dispatcher.process.wait(60) == 0
    assert _outcomes(receiver, "e2") == ["failed", "released"]
    assert len({span.trace_id for span in spans_of(receiver)}) == 2
    # it has not ended
    assert len(_named(receiver, "experiment")) == 1
    sent = {name.lower(): value for one in receiver.got for name, value in one.headers.items()}
    assert sent["authorization"] == "Bearer hunter2" and "hunter2" not in dispatcher.log.read_text()


def _assert_one_span_from_the_request_to_the_last_row(store, api, receiver, tiny_grid):
    grid = tiny_grid(axes={"network.depth": [2, 3]})
    assert api.post("/api/v1/experiments", json=grid).status_code == 201
    wait_for_end(store, "e1")
    wait_until(lambda: len(_stacks(receiver, "e1")) == 2 and _named(receiver, "experiment"))
    (root,), (request,) = _named(receiver, "experiment"), _named(receiver, "POST /api/v1/experiments")
    stacks = _stacks(receiver, "e1")
    assert root.parent_span_id == b""
    for span in (request, *stacks):
        assert (span.trace_id, span.parent_span_id) == (root.trace_id, root.span_id)
    assert len({span.span_id for span in spans_of(receiver)}) == 4
    assert root.start_time_unix_nano == request.start_time_unix_nano
    assert all(root.start_time_unix_nano < span.start_time_unix_nano < root.end_time_unix_nano for span in stacks)
    told = [attributes_of(span) for span in stacks]
    assert [one["nfa.trials"] for one in told] == [one["nfa.lanes.completed"] for one in told] == [3, 3]
    assert {one["nfa.outcome"] for one in told} == {"ended"}
    assert all(one["nfa.node"] and one["nfa.host"] and one["nfa.device"] == "cpu" for one in told)
    assert attributes_of(root)["nfa.trials.completed"] == 6


def test_a_dispatcher_refuses_a_receiver_that_is_none_in_one_line(dispatchers):
    started = dispatchers.start(NFA_OTLP_ENDPOINT="collector:4317")
    assert started.process.wait(60) == 1
    (line,) = started.events("dispatcher_stopped")
    assert line["error"].startswith("NFA_OTLP_ENDPOINT: 'collector:4317' is not an address")
