"""What Prometheus reads: the queue, the dispatchers' counters, requests by route."""

import os

from prometheus_client.parser import text_string_to_metric_families

from service.store import queue


def samples(api):
    """(name, labels without the dispatcher's id) -> value."""
    answer = api.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *(value for key, value in sorted(sample.labels.items()) if key not in ("dispatcher", "host"))): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_queue_is_counted_by_state_and_its_age_grows_from_the_first_waiting_trial(api, submit, train_queue):
    assert samples(api)["nfa_queue_age_seconds",] == 0
    submit()
    found = samples(api)
    assert found["nfa_trials", "queued"] == 6 and found["nfa_queue_age_seconds",] > 0
    train_queue()
    found = samples(api)
    assert (found["nfa_trials", "completed"], found["nfa_trials", "queued"], found["nfa_leases",]) == (6, 0, 0)


def test_dispatchers_tell_counters_with_their_heartbeats(api, store):
    queue.register_dispatcher(store, "d1", host="here", pid=os.getpid(), slots=2, resources={})
    stacks = [{"stack": "abc", "trials": 25}]
    queue.beat(store, "d1", 2, {"trainers": [], "stacks": stacks, "counters": {"steps": 12_000, "rows": 360}})
    found = samples(api)
    assert found["nfa_trainers",] == 2 and found["nfa_dispatcher_alive",] == 1
    assert found["nfa_stack_trials", "abc-0"] == 25
    assert found["nfa_steps_total",] == 12_000 and found["nfa_rows_total",] == 360 and found["nfa_commits_total",] == 0


def test_requests_are_timed_by_route_and_not_by_address(api):
    for number in range(3):
        api.get(f"/api/v1/experiments/e{number + 1}")
    found = samples(api)
    assert found["nfa_request_seconds_count", "GET", "/api/v1/experiments/{experiment_id}", "404"] == 3
