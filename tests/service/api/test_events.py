"""Progress as server-sent events."""

import json
import threading

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
    from service.api import events
    from service.store import control, experiments

    made = submit()["id"]
    asked = iter([experiments.get_summary])

    def deleted_meanwhile(store, public_id):
        look = next(asked, None)
        if look is None:
            control.delete_experiment(store, public_id)
        return experiments.get_summary(store, public_id)

    monkeypatch.setattr(events, "get_summary", deleted_meanwhile)
    found = read(api.get(f"{ROOT}/{made}/events"))
    assert [kind for _, kind, _ in found] == ["state", "progress", "deleted"]
    monkeypatch.undo()
    assert api.get(f"{ROOT}/{made}/events").status_code == 404
