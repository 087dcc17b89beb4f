"""Whole previews of the largest grids, and other requests that fill a body, take less than two seconds of computing."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from service.main import create_app
from service.settings import Settings
from service.store.session import Store
from tests.service.computing import in_time

SECONDS = 3.0
"""Two, on a core that has its caches to itself."""
ROOT = "/api/v1/experiments"
JSON = {"content-type": "application/json"}
LENGTHS = '"axes":{"training.steps":{"linear":[1,100000,100000]}}'
BODIES = {
    "rates, as many as may be": '{"axes":{"training.learning_rate":['
    + ",".join(f"0.{n}" for n in range(1, 100_000))
    + "]}}",
    "a stack for each point": '{"axes":{"measure.every":{"linear":[1,100000,100000]}}}',
    "a product": (
        '{"axes":{"training.learning_rate":{"log":[0.001,0.1,200]},"training.weight_decay":{"log":[0.001,0.1,500]}}}'
    ),
    "many seeds": '{"seeds":1000000}',
    "mappings": '{"axes":{"training":[' + ",".join(f'{{"steps":{n}}}' for n in range(1, 100_000)) + "]}}",
    "lengths": "{" + LENGTHS + "}",
    "lengths that keep their states": '{"trial":{"training":{"keep":"state"},"measure":{"every":1}},' + LENGTHS + "}",
    "lengths under a schedule": '{"trial":{"training":{"schedule":"step","keep":"state"}},' + LENGTHS + "}",
    "lengths measured at a million steps": (
        '{"trial":{"measure":{"points":1000000}},"axes":{"training.steps":{"linear":[9000000,10000000,1001]}}}'
    ),
    "lengths that may stop": (
        '{"trial":{"training":{"stop":{"plateau":{"metric":"alignment","over":10,"change":0.1},'
        '"when":"final.alignment > 0.9"}}},' + LENGTHS + "}"
    ),
    "exponents": '{"axes":{"measure.exponents":[' + ",".join(f"[0.{n}]" for n in range(1, 14_000)) + "]}}",
    "long ones measured at every step": (
        '{"trial":{"measure":{"every":1}},"axes":{"training.steps":[9999998,9999999,10000000]}}'
    ),
}


@pytest.fixture(scope="module")
def api(shared_store: Store) -> Iterator[TestClient]:
    """The application as it is by default, with an experiment that shares no trial with any of the grids here."""
    with TestClient(create_app(Settings(), shared_store), "http://127.0.0.1") as client:
        assert client.post(ROOT, json={"trial": {"data": {"noise": 0.123}}}).status_code == 201
        yield client


@pytest.mark.parametrize("shared_store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", BODIES)
def test_a_preview_of_any_grid_is_answered_in_time(api, name):
    answer = in_time(lambda: api.post(f"{ROOT}/preview", content=BODIES[name], headers=JSON), SECONDS)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["new"] == told["trials"] and told["continued"] + sum(told["from_zero"].values()) < told["trials"]


@pytest.mark.parametrize("shared_store", ["sqlite"], indirect=True)
def test_many_lengths_are_told_as_few_are(api):
    """Of many some are looked at: what is true of all of them is told of all."""

    def told(count: int, **more: object) -> tuple[int, list[int]]:
        trial = {"training": {"keep": "state", **more}, "measure": {"every": 1}}
        grid = {"trial": trial, "axes": {"training.steps": {"linear": [1, count, count]}}, "seeds": 3}
        answer = api.post(f"{ROOT}/preview", json=grid).json()
        return answer["continued"], list(answer["from_zero"].values())

    for count in (2, 100, 5_000):
        assert told(count) == (3 * (count - 1), [])
        assert told(count, schedule="cosine") == (0, [3 * (count - 1)])


@pytest.mark.parametrize("shared_store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", [f"{ROOT}/e1", f"{ROOT}/e1/extend", f"{ROOT}/e1/claims", f"{ROOT}/e1/measure"])
def test_many_keys_that_nobody_knows_are_refused_in_time(api, path):
    keys = "{" + ",".join(f'"k{number}":1' for number in range(300_000)) + "}"
    verb = "PATCH" if path.endswith("e1") else "POST"
    answer = in_time(lambda: api.request(verb, path, content=keys, headers=JSON), SECONDS)
    assert answer.status_code == 422 and "unknown key k0" in answer.text and len(answer.content) < 9_000


@pytest.mark.parametrize("shared_store", ["sqlite"], indirect=True)
def test_more_points_than_can_be_looked_for_are_refused_and_seeds_are_not_counted(api):
    axes = {"training.learning_rate": {"log": [0.001, 0.1, 500]}, "training.weight_decay": {"log": [0.001, 0.1, 201]}}
    answer = api.post(f"{ROOT}/preview", json={"axes": axes})
    assert answer.status_code == 422 and "100500 points are over the limit of 100000" in answer.json()["detail"]
    few = {"training.learning_rate": {"log": [0.001, 0.1, 500]}}
    assert api.post(f"{ROOT}/preview", json={"axes": few, "seeds": 2_000}).json()["new"] == 1_000_000
