"""A submission becomes a trace: its request at once, its root once the last row is there, by whichever process."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from processes import wait_until
from receiver import receiving
from reports import LEASE, lease, report
from sqlalchemy import select
from told_spans import attributes_of, spans_of

from service.main import create_app
from service.settings import Settings
from service.store import control, deletions, reports, traces
from service.store import submissions as creating
from service.store.incarnation import present_life
from service.store.models import traced
from service.store.session import utc_now
from service.tracing import submissions
from service.tracing.receiver import Receiver
from service.tracing.spans import ids_of
from service.tracing.submissions import Submission, Submissions, nanoseconds

ROOT = "/api/v1/experiments"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def receiver():
    with receiving(200) as made:
        yield made


@pytest.fixture
def api(store, receiver):
    """An application that tells a receiver."""
    with TestClient(create_app(Settings(otlp_endpoint=receiver.address), store), "http://127.0.0.1") as client:
        yield client


def _train(store):
    """What waits ends, as a dispatcher would have it."""
    leased = lease(store)
    assert leased
    reports.record(store, report(leased, [0, 20], ends=True), LEASE)


def _rows(store):
    with store.read() as connection:
        return list(connection.scalars(select(traced.c.experiment_id)))


def _named(receiver, name):
    return [span for span in spans_of(receiver) if span.name == name]


def test_a_submission_is_one_span_from_its_request_to_its_last_row(store, api, receiver, tiny_grid):
    before = utc_now()
    answer = api.post(ROOT, json=tiny_grid(), headers={"traceparent": CALLER})
    assert answer.status_code == 201
    ids = ids_of(present_life(store), 1)
    wait_until(lambda: spans_of(receiver))
    (request,) = spans_of(receiver)
    assert request.name == f"POST {ROOT}" and attributes_of(request)["http.response.status_code"] == 201
    assert (request.trace_id, request.parent_span_id) == ids
    _train(store)
    wait_until(lambda: _named(receiver, "experiment"))
    (root,) = _named(receiver, "experiment")
    assert (root.trace_id, root.span_id, root.parent_span_id) == (*ids, b"")
    assert nanoseconds(before) <= root.start_time_unix_nano == request.start_time_unix_nano
    assert request.end_time_unix_nano <= root.end_time_unix_nano <= nanoseconds(utc_now())
    for span in (request, root):
        assert span.links[0].trace_id.hex() in CALLER
    told = attributes_of(root)
    assert (told["nfa.experiment"], told["nfa.state"], told["nfa.trials.completed"]) == ("e1", "completed", 6)
    wait_until(lambda: not _rows(store))
    assert len(spans_of(receiver)) == 2


def test_a_submission_on_the_page_is_traced_and_what_makes_no_experiment_is_not(store, api, receiver, tiny_grid):
    api.post(f"{ROOT}/preview", json=tiny_grid())
    api.post(ROOT, json={"axs": 1})
    key = {"Idempotency-Key": "a word"}
    assert [api.post(ROOT, json=tiny_grid(), headers=key).json()["id"] for _ in range(2)] == ["e1", "e1"]
    form = {"grid": '{"name": "x"}', "do": "submit"}
    same_site = {"Origin": "http://127.0.0.1"}
    assert api.post("/submit", data=form, headers=same_site, follow_redirects=False).status_code == 303
    wait_until(lambda: len(spans_of(receiver)) == 2)
    control.cancel_experiment(store, "e1")
    control.cancel_experiment(store, "e2")
    wait_until(lambda: not _rows(store))
    assert sorted(span.name for span in spans_of(receiver)) == [*[f"POST {ROOT}"], "POST /submit", *["experiment"] * 2]


def test_a_grid_that_was_run_before_ends_with_its_request(store, api, receiver, tiny_grid):
    api.post(ROOT, json=tiny_grid())
    _train(store)
    wait_until(lambda: not _rows(store) and spans_of(receiver))
    api.post(ROOT, json=tiny_grid())
    wait_until(lambda: len(_named(receiver, "experiment")) == 2)
    root = _named(receiver, "experiment")[1]
    # its rows were written before anybody asked
    assert root.end_time_unix_nano == root.start_time_unix_nano


@pytest.fixture
def teller(store, receiver):
    """One process's; its turns are ours."""
    return lambda: Submissions(store, Receiver(receiver.address, {}, "api"))


def _submitted(store, expansion):
    return creating.create_experiment(store, expansion).id


def test_a_root_whose_process_was_killed_is_sent_by_another_and_by_one_alone(store, receiver, teller, expansion):
    began = utc_now()
    first = teller()
    first.add(Submission(_submitted(store, expansion), began, began, ROOT, 201, None))
    first.turn()
    assert _rows(store) == [1]
    _train(store)
    # taken, and killed before it could send
    assert [one.number for one in traces.take_ended(store)] == [1]
    teller().turn()
    assert _named(receiver, "experiment") == []
    later = utc_now() + traces.LEASE + timedelta(seconds=1)
    assert [one.began for one in traces.take_ended(store, later)] == [began]
    with store.write() as connection:
        connection.execute(traced.update().values(taken_until=began))
    others = [teller() for _ in range(3)]
    for other in others:
        other.turn()
    (root,) = _named(receiver, "experiment")
    assert root.start_time_unix_nano == nanoseconds(began)
    assert _rows(store) == []


def test_a_root_that_was_not_taken_is_sent_later(store, receiver, teller, expansion):
    one = teller()
    one.add(Submission(_submitted(store, expansion), utc_now(), utc_now(), ROOT, 201, None))
    receiver.statuses = [503, 200, 503, 200]
    one.turn()
    one.turn()
    assert [span.name for span in spans_of(receiver)] == [f"POST {ROOT}"] * 2
    _train(store)
    one.turn()
    assert _rows(store) == [1]
    with store.write() as connection:
        connection.execute(traced.update().values(taken_until=utc_now() - timedelta(seconds=1)))
    one.turn()
    assert len(_named(receiver, "experiment")) == 2 and _rows(store) == []


def test_a_root_that_is_refused_is_forgotten_and_others_do_not_wait_for_it(store, receiver, teller, expansion, lines):
    one = teller()
    for made in (expansion, expansion):
        one.add(Submission(_submitted(store, made), utc_now(), utc_now(), ROOT, 201, None))
    one.turn()
    for experiment in ("e1", "e2"):
        control.cancel_experiment(store, experiment)
    receiver.statuses = [400, 200]
    one.turn()
    assert [attributes_of(root)["nfa.experiment"] for root in _named(receiver, "experiment")] == ["e1", "e2"]
    assert _rows(store) == []
    assert [line["event"] for line in lines if line["event"].startswith("traces")] == [
        "traces_wait",
        "traces_sent_again",
    ]


def test_what_came_last_is_noted_and_told_when_the_process_stops(store, receiver, expansion):
    one = Submissions(store, Receiver(receiver.address, {}, "api"))
    one.end()
    one.add(Submission(_submitted(store, expansion), utc_now(), utc_now(), ROOT, 201, None))
    one.run()
    assert _rows(store) == [1] and [span.name for span in spans_of(receiver)] == [f"POST {ROOT}"]


def test_what_cannot_be_told_when_the_process_stops_is_told_as_lost(store, receiver, expansion, lines):
    receiver.statuses = [503]
    one = Submissions(store, Receiver(receiver.address, {}, "api"))
    one.end()
    one.add(Submission(_submitted(store, expansion), utc_now(), utc_now(), ROOT, 201, None))
    one.run()
    # its root is sent by another
    assert _rows(store) == [1]
    assert [(line["event"], line.get("spans")) for line in lines][-2:] == [("traces_wait", None), ("traces_dropped", 1)]


def test_of_too_many_requests_the_oldest_go_and_are_counted(store, receiver, monkeypatch):
    monkeypatch.setattr(submissions, "_MOST_WAITING", 2)
    receiver.statuses = [503, 503, 200]
    told = Receiver(receiver.address, {}, "api")
    one = Submissions(store, told)
    for number in range(1, 4):
        one.add(Submission(f"e{number}", utc_now(), utc_now(), ROOT, 201, None))
    # of the first, its request and its root
    assert told.dropped == 2
    one.turn()
    one.add(Submission("e4", utc_now(), utc_now(), ROOT, 201, None))
    one.turn()
    assert told.dropped == 3
    one.turn()
    assert [attributes_of(span)["nfa.experiment"] for span in spans_of(receiver)][-2:] == ["e3", "e4"]


def test_a_header_that_no_store_takes_loses_nothing(store, receiver, teller, expansion):
    one = teller()
    one.add(Submission(_submitted(store, expansion), utc_now(), utc_now(), ROOT, 201, "\0"))
    one.turn()
    assert _rows(store) == [1]


def test_an_experiment_that_is_deleted_is_told_no_more(store, receiver, teller, expansion):
    one = teller()
    one.add(Submission(_submitted(store, expansion), utc_now(), utc_now(), ROOT, 201, None))
    one.turn()
    control.cancel_experiment(store, "e1")
    control.delete_experiment(store, "e1")
    deletions.erase_deleted(store)
    one.turn()
    assert _rows(store) == [] and _named(receiver, "experiment") == []


def test_a_root_is_tried_for_a_week(store, teller, expansion):
    one = teller()
    one.add(Submission(_submitted(store, expansion), utc_now(), utc_now(), ROOT, 201, None))
    one.turn()
    _train(store)
    assert len(traces.take_ended(store, utc_now() + timedelta(days=6))) == 1
    assert _rows(store) == [1]
    assert len(traces.take_ended(store, utc_now() + timedelta(days=8))) == 1
    assert _rows(store) == []


def test_failed_trials_make_the_root_an_error(store, receiver, teller, expansion):
    one = teller()
    one.add(Submission(_submitted(store, expansion), utc_now(), utc_now(), ROOT, 201, "no header"))
    one.turn()
    for trial in lease(store):
        end = reports.End(trial.trial_id, "failed", None, "it broke", {})
        reports.fail(store, trial.trial_id, trial.attempt, end)
    one.turn()
    (root,) = _named(receiver, "experiment")
    assert (root.status.code, root.status.message) == (2, "6 of its trials failed")
    assert not root.links
