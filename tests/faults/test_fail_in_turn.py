"""Every call to the database and to Ray on the way from a submission to its results, failed in turn."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from injection import failing_database
from scale import DAY, STRIDE, first_of

from service.main import create_app
from service.settings import Settings
from service.store.session import open_store

_HERE = Path(__file__).parent
_ROOT = "http://127.0.0.1/api/v1"


def test_the_runs_of_a_week_fail_every_call():
    for stride in (STRIDE, -(-STRIDE // 4)):
        for monday in range(DAY, DAY + 7):
            week = {call for day in range(monday, monday + 7) for call in range(first_of(day, stride), 500, stride)}
            assert week == set(range(500))


@pytest.mark.parametrize("what", ["database", "ray"])
def test_a_dispatcher_survives_each_of_its_calls_failing(store_url, ray_head, tmp_path, what, capsys):
    if what == "ray" and store_url.startswith("sqlite"):
        pytest.skip("the same calls as with the other database")
    pace = {"NFA_TRAINERS": "1", "NFA_LEASE_SECONDS": "2", "NFA_HEARTBEAT_SECONDS": "0.3", "NFA_SWEEP_SECONDS": "0.3"}
    environment = ray_head | pace | {"NFA_DATABASE_URL": store_url, "NFA_HOME": str(tmp_path)}
    paths = {"PYTHONPATH": os.pathsep.join([str(_HERE), str(_HERE.parents[1])]), "NFA_IDLE_POLL_SECONDS": "0.05"}
    # few calls are Ray's
    stride = STRIDE if what == "database" else -(-STRIDE // 4)
    first = first_of(DAY, stride)
    with capsys.disabled():
        kind = store_url.partition(":")[0]
        print(
            f"\n{what} of {kind}: calls {first}, {first + stride} .. fail in turn; NFA_DAY={DAY} chooses the same again"
        )
    done = subprocess.run(
        [sys.executable, str(_HERE / "fail_in_turn.py"), what, str(first), str(stride)],
        env=os.environ | environment | paths,
        stdout=subprocess.PIPE,
        check=False,
    )
    sweeps = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    assert done.returncode == 0, f"the one after {sweeps[-1:]}"
    assert sum(one["happened"] for one in sweeps) > (4 if what == "database" else 1)
    assert [one for one in sweeps if not one["is_whole"]] == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_submission_whose_calls_fail_is_repeated_to_exactly_one_experiment(store, store_url, tiny_grid, when):
    settings = Settings(requests_per_second=1e6)
    with (
        open_store(store_url) as own,
        TestClient(create_app(settings, own), base_url=_ROOT, raise_server_exceptions=False) as api,
        failing_database(own) as countdown,
    ):
        call, failures = 0, 0
        while True:
            countdown.arm(call, when)
            headers = {"Idempotency-Key": f"{when} {call}"}
            body = tiny_grid(name=f"{when} {call}", seeds=[call])
            first = api.post("/experiments", json=body, headers=headers)
            assert first.status_code in (201, 503), first.text
            failures += first.status_code == 503
            if not countdown.is_over:
                break
            assert api.post("/experiments", json=body, headers=headers).status_code == 201
            call += 1
        countdown.arm(10**9, when)
        found = api.get("/experiments", params={"limit": 200}).json()["items"]
    assert failures > 10
    assert sorted(one["name"] for one in found) == sorted(f"{when} {number}" for number in range(call + 1))
    assert all(sum(one["counts"].values()) == 2 for one in found)


@pytest.mark.parametrize(
    "question",
    [
        "",
        "/trials",
        "/results?metric=alignment",
        "/curves?metric=alignment",
        "/verdicts",
        "/phase?x=training.weight_decay&y=seed&metric=alignment",
    ],
)
def test_a_question_whose_calls_fail_is_answered_in_full_or_with_503(store, store_url, tiny_grid, question):
    with (
        open_store(store_url) as own,
        TestClient(create_app(Settings(), own), base_url=_ROOT, raise_server_exceptions=False) as api,
    ):
        path = f"/experiments/{api.post('/experiments', json=tiny_grid()).json()['id']}{question}"
        whole, call = api.get(path).content, 0
        with failing_database(own) as countdown:
            while True:
                countdown.arm(call, "before")
                answer = api.get(path)
                assert answer.status_code == (503 if countdown.is_over else 200), answer.text
                if not countdown.is_over:
                    break
                call += 1
        assert call > 0
        assert api.get(path).content == whole


@pytest.mark.parametrize("form", ["csv", "ndjson", "arrow", "parquet"])
def test_an_export_whose_calls_fail_before_it_begins_is_answered_as_unavailable(store, tiny_grid, form):
    """Compressed answers are sent later than they are begun: a failure between the two was a 500."""
    application = create_app(Settings(requests_per_second=1e6), store)
    answered = []
    with TestClient(application, "http://127.0.0.1", raise_server_exceptions=False) as api:
        made = api.post("/api/v1/experiments", json=tiny_grid(seeds=3)).raise_for_status().json()["id"]
        with failing_database(store) as calls:
            while calls.is_over:
                calls.arm(len(answered), "before")
                answer = api.get(f"/api/v1/experiments/{made}/measurements?format={form}")
                answered.append(answer.status_code)
            calls.arm(-1, "done")
    assert answered[-1] == 200 and {*answered[:-1]} == {503}, answered
    assert len(answered) > 4
