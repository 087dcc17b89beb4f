"""Filtered and sorted lists of trials: the same whatever the page size, and the same as the filter language says."""

import base64
import json
import re

import pytest

from service.questions import filters
from service.store.experiments import require
from service.store.finals import finals_of
from service.store.members import keys_of
from service.store.trial_rows import lookup_of, trials_of

ROOT = "/api/v1/experiments"
TRIAL = {
    "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
    "network": {"depth": 2, "width": 4},
    "training": {"steps": 20},
    "measure": {"points": 4, "layers": [1, 2], "metrics": ["train_loss", "alignment", "best_exponent_kind"]},
}
FILTERS = [
    "training.weight_decay > 0",
    "training.weight_decay in (0, 0.5) and seed >= 1",
    "not training.weight_decay == 0 or network.activation == relu",
    "network.width == 4",
    "network.width > 3 and network.depth == 3",
    "state == completed",
    "not state in (queued, diverged)",
    "state > completed",
    "seed == 1e3 or seed < 1e999 and seed != 2",
    f"seed < {10**40}",
    f"seed > -{10**400}",
    "seed == two or seed == true",
    "final.alignment > 0.5",
    "not final.alignment > 0.5",
    "final.alignment is null",
    "final.alignment is not null and training.learning_rate < 1",
    "final.alignment[2] >= 0.3",
    "final.alignment[1] >= 0.3 and not final.alignment[7] >= 0.3",
    "final.alignment@0.25 > 0.2",
    "final.alignment@0.25[2] > 0.2 and (seed == 0 or training.weight_decay == 0.5)",
    "final.best_exponent_kind == interior",
    "final.best_exponent_kind in (lower, upper) or final.train_loss < 0.1",
    "training.momentum is null and seed is not null",
    "final.test_loss > 0 or not final.test_loss > 0",
]
SORTS = [
    "seed",
    "-seed",
    "state",
    "training.weight_decay",
    "-network.width",
    "network.activation",
    "training.momentum",
    "final.alignment",
    "-final.alignment",
    "-final.alignment[2]",
    "final.alignment@0.25",
    "-final.best_exponent_kind",
    "final.test_loss",
]


@pytest.fixture
def mixed(api, submit, train_queue):
    """An experiment with completed, diverged, cancelled and queued trials, of several shapes."""
    axes = {
        "training.weight_decay": [0, 0.5],
        "network": [
            {"depth": 2, "width": 4},
            {"depth": 3, "width": [4, 6], "activation": "relu"},
        ],
        "training": [{"learning_rate": 0.02}, {"learning_rate": 50.0}],
    }
    trial = TRIAL | {"measure": TRIAL["measure"] | {"exponents": [0.25]}}
    made = submit(trial=trial, axes=axes, seeds=3)["id"]
    train_queue()
    api.post(f"{ROOT}/{made}/extend", json={"seeds": 4})
    api.post(f"{ROOT}/{made}/cancel")
    api.post(f"{ROOT}/{made}/extend", json={"seeds": 5})
    return made


def pages(api, experiment, limit, **params):
    """Trials over all pages of a list."""
    found, cursor = [], None
    while True:
        answer = api.get(
            f"{ROOT}/{experiment}/trials", params={"limit": limit, **params} | ({"cursor": cursor} if cursor else {})
        )
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return found


def test_a_filter_in_the_database_passes_what_the_language_says(api, store, mixed):
    with store.read() as connection:
        number = require(connection, mixed)
        finals = finals_of(connection, keys_of([number]))
        rows = [(row, lookup_of(row, finals.get(row.id, {}))) for row in trials_of(connection, number)]
    assert {row.state.value for row, _ in rows} >= {"completed", "diverged", "cancelled", "queued"}
    for where in FILTERS:
        tree = filters.parse(where)
        expected = [f"t{row.id}" for row, lookup in rows if filters.matches(tree, lookup)]
        assert [one["id"] for one in pages(api, mixed, 1000, where=where)] == expected, where
    queued = [f"t{row.id}" for row, _ in rows if row.state == "queued" and row.seed > 3]
    assert [one["id"] for one in pages(api, mixed, 3, state="queued", where="seed > 3")] == queued


def test_a_sorted_list_is_the_same_in_pages_of_any_size_with_undefined_values_last(api, mixed):
    for sort in SORTS:
        whole = pages(api, mixed, 1000, sort=sort)
        assert len(whole) == 40
        assert [one["id"] for one in pages(api, mixed, 7, sort=sort)] == [one["id"] for one in whole], sort
        path = sort.removeprefix("-")
        if path.startswith("final."):
            values = [one["final"].get(path.removeprefix("final.")) for one in whole]
            defined = [value for value in values if value is not None]
            assert values == sorted(defined, reverse=sort.startswith("-")) + [None] * (len(values) - len(defined))


def test_ties_of_a_sorted_list_keep_the_grids_order(api, mixed):
    listed = [one["id"] for one in pages(api, mixed, 1000)]
    by_seed = pages(api, mixed, 5, sort="-seed")
    assert [one["seed"] for one in by_seed] == sorted((one["seed"] for one in by_seed), reverse=True)
    first = [one["id"] for one in by_seed if one["seed"] == 4]
    assert first == [one for one in listed if one in first]


@pytest.mark.parametrize(
    "text",
    [
        "trials seed:[1",
        "trials seed:[true,1]",
        "trials seed:[1,-1]",
        "trials seed:[NaN,1]",
        "trials seed:[1,1,1]",
        "trials seed:7",
        'trials seed:["x",1]',
        f"trials seed:[{2**70},1]",
        "trials -seed:[1,1]",
        "experiments:1",
    ],
)
def test_a_made_up_cursor_is_refused(api, submit, text):
    made = submit()["id"]
    cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    answer = api.get(f"{ROOT}/{made}/trials", params={"sort": "seed", "cursor": cursor})
    assert answer.status_code == 422 and "next_cursor" in answer.json()["detail"]
    assert json.loads(answer.text)["code"] == "invalid_request"


def test_a_trial_names_the_experiments_that_hold_it(api, submit):
    first, second = submit(seeds=2), submit(seeds=3)
    shared, own = (
        api.get(f"/api/v1/experiments/{second['id']}/trials").json()["items"][place]["id"] for place in (0, 2)
    )
    held = api.get(f"/api/v1/trials/{shared}/experiments").json()
    assert [one["id"] for one in held["items"]] == [first["id"], second["id"]] and held["next_cursor"] is None
    assert [one["id"] for one in api.get(f"/api/v1/trials/{own}/experiments").json()["items"]] == [second["id"]]
    api.delete(f"/api/v1/experiments/{first['id']}")
    assert [one["id"] for one in api.get(f"/api/v1/trials/{shared}/experiments").json()["items"]] == [second["id"]]
    missing = api.get("/api/v1/trials/t999/experiments")
    assert missing.status_code == 404 and "no trial t999" in missing.json()["detail"]


@pytest.fixture
def wordy(submit):
    """An experiment whose grid lists words out of alphabet, and numbers out of size."""
    axes = {"network.activation": ["tanh", "relu", "linear"], "training.weight_decay": [0.5, 0]}
    return submit(axes=axes, seeds=2, exclude=[{"network.activation": "tanh", "training.weight_decay": 0.5}])["id"]


def test_results_curves_phase_diagrams_and_trials_have_one_order_of_an_axis(api, wordy, train_queue):
    train_queue()
    wanted = [("tanh", 0), *((word, decay) for word in ("relu", "linear") for decay in (0, 0.5))]
    paths = ("network.activation", "training.weight_decay")
    for question in ("results", "curves"):
        items = api.get(f"{ROOT}/{wordy}/{question}").json()["items"]
        assert [tuple(item[path] for path in paths) for item in items] == wanted, question
    matrix = api.get(f"{ROOT}/{wordy}/phase").json()
    assert (matrix["x_values"], matrix["y_values"]) == (["tanh", "relu", "linear"], [0, 0.5])
    listed = pages(api, wordy, 3, sort="axes")
    found = [(one["settings"]["network"]["activation"], one["settings"]["training"]["weight_decay"]) for one in listed]
    assert found == [pair for pair in wanted for _ in range(2)]
    assert [one["seed"] for one in listed] == [0, 1] * 5
    by_word = [one["settings"]["network"]["activation"] for one in pages(api, wordy, 4, sort="-network.activation")]
    assert list(dict.fromkeys(by_word)) == ["linear", "relu", "tanh"]
    page = api.get(f"/experiments/{wordy}").text
    trials = page[page.index('id="trials"') :]
    decays = re.findall(r'<td data-label="[^"]*decay[^"]*">([^<]*)</td>', trials)
    assert list(dict.fromkeys(decays)) == ["0", "0.5"] and trials.index("tanh") < trials.index("relu")


@pytest.mark.parametrize(
    ("sort", "nearest"), [("network.dept", "network.depth"), ("-alignment", "final.alignment"), ("axs", "axes")]
)
def test_a_wrong_sort_is_named_for_what_it_is(api, submit, sort, nearest):
    refused = api.get(f"{ROOT}/{submit()['id']}/trials", params={"sort": sort})
    assert refused.status_code == 422 and refused.json()["code"] == "invalid_request"
    entry = refused.json()["errors"][0]
    assert (entry["path"], entry["nearest"]) == ("sort", nearest)
    assert "filter" not in refused.json()["detail"] + refused.json()["title"]
