"""What Prometheus reads: the queue, the dispatchers' counters, requests by route."""

import os
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.states import TrialState
from service.store import cluster


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
    cluster.register_dispatcher(store, "d1", host="here", pid=os.getpid(), slots=2, resources={})
    stacks = [{"stack": "abc", "trials": 25}]
    cluster.beat(store, "d1", 2, {"trainers": [], "stacks": stacks, "counters": {"steps": 12_000, "rows": 360}})
    found = samples(api)
    assert found["nfa_trainers",] == 2 and found["nfa_dispatcher_alive",] == 1
    assert found["nfa_stack_trials", "abc-0"] == 25
    assert found["nfa_steps_total",] == 12_000 and found["nfa_rows_total",] == 360 and found["nfa_commits_total",] == 0


def test_requests_are_timed_by_route_and_not_by_address(api):
    for number in range(3):
        api.get(f"/api/v1/experiments/e{number + 1}")
    found = samples(api)
    assert found["nfa_request_seconds_count", "GET", "/api/v1/experiments/{experiment_id}", "404"] == 3


SERIES = {
    "nfa_trials": ("gauge", {"state"}),
    "nfa_queue_age_seconds": ("gauge", set()),
    "nfa_leases": ("gauge", set()),
    "nfa_dispatcher_alive": ("gauge", {"dispatcher", "host"}),
    "nfa_trainers": ("gauge", {"dispatcher"}),
    "nfa_stack_trials": ("gauge", {"dispatcher", "stack"}),
    "nfa_steps": ("counter", {"dispatcher"}),
    "nfa_rows": ("counter", {"dispatcher"}),
    "nfa_commits": ("counter", {"dispatcher"}),
    "nfa_commit_seconds": ("counter", {"dispatcher"}),
    "nfa_training_seconds": ("counter", {"dispatcher"}),
    "nfa_measuring_seconds": ("counter", {"dispatcher"}),
    "nfa_stacks": ("counter", {"dispatcher"}),
    "nfa_lanes": ("counter", {"dispatcher"}),
    "nfa_stacks_retried": ("counter", {"dispatcher"}),
    "nfa_trainers_replaced": ("counter", {"dispatcher"}),
    "nfa_request_seconds": ("histogram", {"method", "route", "status", "le"}),
}
"""What docs/operations.md promises: name -> kind and labels."""


def test_every_series_has_its_kind_help_and_labels_as_prometheus_wants_them(api, store, submit):
    """The rules of `promtool check metrics`."""
    submit()
    stacks = [{"stack": "abc", "trials": 25}, {"stack": "abc", "trials": 3}]
    for name in ("d1", "d2"):
        cluster.register_dispatcher(
            store, name, host='a "strange"\\ host\n', pid=1, slots=2, resources={"stacks": stacks}
        )
    text = api.get("/metrics").text
    families = list(text_string_to_metric_families(text))
    found = {family.name: family for family in families if not family.name.endswith("_created")}
    assert set(found) == set(SERIES) and len(families) == len({family.name for family in families})
    seen = [(sample.name, *sorted(sample.labels.items())) for family in families for sample in family.samples]
    assert len(seen) == len(set(seen)), "a series is told twice"
    for name, (kind, labels) in SERIES.items():
        family = found[name]
        assert family.type == kind and family.documentation.endswith("."), name
        assert set().union(*(sample.labels for sample in family.samples)) == labels, name
        assert kind != "counter" or all(sample.name == f"{name}_total" for sample in family.samples)
    assert {sample.labels["state"] for sample in found["nfa_trials"].samples} == {state.value for state in TrialState}


def test_every_series_is_told_in_the_operations_page():
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    for name, (kind, _) in SERIES.items():
        assert (f"{name}_total" if kind == "counter" else name) in page, name
