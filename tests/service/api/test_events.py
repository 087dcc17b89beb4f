"""Progress as server-sent events."""

import contextlib
import json
import threading
import time

import httpx
from processes import wait_until
from sqlalchemy import event

from service.api import watching
from service.store import control, experiments, submissions

ROOT = "/api/v1/experiments"


def read(response):
    """(id, event, data) of each event of a whole stream."""
    found = []
    for block in response.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


def test_events_tell_how_an_experiment_goes_from_queued_to_its_end(api, submit, train_queue):
    made = submit()["id"]
    before = threading.Thread(target=train_queue)
    before.start()
    stream = api.get(f"{ROOT}/{made}/events")
    before.join()
    assert stream.headers["content-type"].startswith("text/event-stream")
    found = read(stream)
    states = [data["state"] for _, kind, data in found if kind == "state"]
    assert states[-1] == "completed" and found[-1][1] == "end"
    last_id, _, last = next(event for event in reversed(found) if event[1] == "progress")
    assert last["progress"] == 1.0 and last["counts"]["completed"] == 6
    assert api.get(f"{ROOT}/{made}/events", headers={"Last-Event-ID": last_id}).status_code == 204


def test_who_comes_back_gets_what_changed_meanwhile_and_nothing_twice(api, submit, train_queue):
    made = submit()["id"]
    known = "queued:6-0-0-0-0-0"
    train_queue()
    found = read(api.get(f"{ROOT}/{made}/events", headers={"Last-Event-ID": known}))
    assert [kind for _, kind, _ in found] == ["state", "progress", "end"]
    assert found[0][2] == {"state": "completed", "before": "queued"}
    again = read(api.get(f"{ROOT}/{made}/events", headers={"Last-Event-ID": "made up"}))
    assert again[1] == found[1]


def test_events_of_an_experiment_that_is_deleted_end_and_of_none_are_not_found(api, submit, monkeypatch):
    made = submit()["id"]
    looks = iter([False])

    def deleted_meanwhile(store, public_id):
        if next(looks, True):
            control.delete_experiment(store, public_id)
        return experiments.get_summary(store, public_id)

    monkeypatch.setattr(watching, "get_summary", deleted_meanwhile)
    found = read(api.get(f"{ROOT}/{made}/events"))
    assert [kind for _, kind, _ in found] == ["state", "progress", "deleted"]
    monkeypatch.undo()
    assert api.get(f"{ROOT}/{made}/events").status_code == 404


LISTENERS = 40


@contextlib.contextmanager
def questions(store):
    """Times of the statements that ask where an experiment stands while the block runs."""
    asked = []

    def note(_connection, _cursor, statement, *_):
        if "FROM experiment LEFT OUTER JOIN tally" in statement:
            asked.append(time.monotonic())

    event.listen(store._reader, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(store._reader, "before_cursor_execute", note)


def listening(port, made, count, heard):
    """Threads that read whole streams and put (listener, kind of event) into `heard`; the first one reads slowly."""

    def listen(number: int) -> None:
        with httpx.stream("GET", f"http://127.0.0.1:{port}{ROOT}/{made}/events", timeout=60) as answer:
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    heard.append((number, line.removeprefix("event: ")))

    threads = [threading.Thread(target=listen, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def who(heard, kind):
    return {number for number, heard_of in heard if heard_of == kind}


def test_forty_streams_of_an_experiment_ask_the_store_once_a_second_and_all_hear_of_its_end(
    store, port, expansion, train_queue
):
    made, heard = submissions.create_experiment(store, expansion).id, []
    threads = listening(port, made, LISTENERS, heard)
    wait_until(lambda: len(who(heard, "progress")) == LISTENERS)
    with questions(store) as asked:
        wait_until(lambda: len(asked) >= 4)
        # between four looks lie three pauses
        assert asked[3] - asked[0] > 2.9
    train_queue()
    for thread in threads:
        thread.join(30)
    assert who(heard, "end") == set(range(LISTENERS))
