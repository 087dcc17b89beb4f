"""Who may do what: every route against every kind of caller, read off the application itself."""

import re
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from service.api.access import COOKIE, OPEN_PATHS, needed_scope
from service.errors import Forbidden
from service.main import create_app
from service.settings import Settings
from service.store import submissions, tokens
from service.store.session import utc_now
from service.tokens import Scope

ROOT = "/api/v1/experiments"
OPEN_ROUTES = {"/healthz", "/readyz"}
OWNER_ROUTES = {"cancel", "pause", "resume", "retry", "extend", "thin"}


@pytest.fixture
def secrets(store):
    """Tokens by what is special about them."""
    later, before = utc_now() + timedelta(days=1), utc_now() - timedelta(seconds=1)
    made = {
        "read": tokens.create_token(store, "reader", Scope.READ, expires_at=later),
        "owner": tokens.create_token(store, "anna", Scope.SUBMIT, expires_at=later),
        "other": tokens.create_token(store, "ben", Scope.SUBMIT),
        "admin": tokens.create_token(store, "root", Scope.ADMIN),
        "expired": tokens.create_token(store, "old", Scope.ADMIN, expires_at=before),
        "revoked": tokens.create_token(store, "lost", Scope.ADMIN),
        "made up": "nfa_" + "A" * 43,
        "nonsense": "hunter2",
    }
    tokens.revoke_token(store, "lost")
    return made


@pytest.fixture
def experiment(store, expansion):
    """One of anna's."""
    return submissions.create_experiment(store, expansion, owner="anna").id


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def routes(api, experiment):
    """Every (method, path) that the application documents, with ids filled in; refused before anything is done."""
    for path, item in api.app.openapi()["paths"].items():
        for method in item:
            filled = path.replace("{experiment_id}", experiment).replace("{trial_id}", "t1")
            yield method.upper(), re.sub(r"\{[a-z_]+\}", "x", filled)


def test_every_route_but_the_open_ones_refuses_callers_without_a_valid_token(api, experiment, secrets):
    seen = list(routes(api, experiment))
    assert len(seen) > 20
    for method, path in seen:
        for headers in ({}, *(bearer(secrets[kind]) for kind in ("expired", "revoked", "made up", "nonsense"))):
            answer = api.request(method, path, headers=headers)
            if path in OPEN_ROUTES:
                assert answer.status_code == 200
            else:
                assert answer.status_code == 401, (method, path)
                assert answer.json()["code"] == "unauthorised" and answer.headers["www-authenticate"] == "Bearer"
    for path in ("/docs", "/openapi.json", "/nothing", "/metrics"):
        assert api.get(path).status_code == 401


def test_every_route_asks_for_the_scope_of_its_method(api, experiment, secrets):
    for method, path in routes(api, experiment):
        # the events of an unfinished experiment do not end: ask for those of one that is not there
        asked = path.replace(experiment, "e999") if path.endswith("/events") else path
        answer = api.request(method, asked, headers=bearer(secrets["read"]))
        is_reading = method == "GET" or path.endswith("/preview")
        assert (answer.status_code == 403) != is_reading, (method, path, answer.status_code)
        if not is_reading:
            assert answer.json()["code"] == "forbidden" and "submit" in answer.json()["detail"]


def test_only_the_owner_and_admins_steer_an_experiment(api, experiment, secrets):
    path = f"{ROOT}/{experiment}"
    calls = [("POST", f"{path}/{verb}") for verb in OWNER_ROUTES] + [("PATCH", path), ("DELETE", path)]
    for method, address in calls:
        refused = api.request(method, address, headers=bearer(secrets["other"]), json={"which": "failed"})
        assert refused.status_code == 403 and "anna" in refused.json()["detail"], address
    assert api.get(path, headers=bearer(secrets["other"])).status_code == 200
    assert api.post(f"{path}/pause", headers=bearer(secrets["owner"])).status_code == 200
    assert api.post(f"{path}/resume", headers=bearer(secrets["admin"])).status_code == 200
    assert api.delete(path, headers=bearer(secrets["owner"])).status_code == 204


def test_a_new_experiment_belongs_to_who_submitted_it(api, secrets, tiny_grid):
    made = api.post(ROOT, json=tiny_grid(), headers=bearer(secrets["other"])).json()
    assert api.get(f"{ROOT}/{made['id']}", headers=bearer(secrets["read"])).json()["owner"] == "ben"


def test_an_idempotency_key_is_its_owners_alone(api, secrets, tiny_grid):
    made = {
        api.post(ROOT, json=tiny_grid(), headers=bearer(secrets[who]) | {"Idempotency-Key": "k"}).json()["id"]
        for who in ("owner", "other", "owner")
    }
    assert len(made) == 2


def test_a_cookie_is_as_good_as_a_header_but_not_for_pages_from_elsewhere(api, experiment, secrets):
    cookie = {"Cookie": f"{COOKIE}={secrets['owner']}"}
    pause = f"{ROOT}/{experiment}/pause"
    assert api.get(ROOT, headers=cookie).status_code == 200
    assert api.post(pause, headers=cookie | {"Origin": "http://127.0.0.1"}).status_code == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1.evil.example"):
        assert api.post(pause, headers=cookie | {"Origin": origin}).status_code == 403


CREDENTIALS = [
    {},
    {"Authorization": "Bearer x"},
    {"Authorization": f"Bearer nfa_{'A' * 43}"},
    {"Authorization": "Basic eDp5"},
    {"Cookie": f"{COOKIE}=x"},
    {"Cookie": f"{COOKIE}=nfa_{'A' * 43}"},
    {"Authorization": "Bearer x", "Cookie": f"{COOKIE}=y"},
]


@pytest.mark.parametrize("credentials", CREDENTIALS, ids=str)
def test_a_service_without_tokens_answers_this_machine_alone_whatever_credentials_are_sent(api, submit, credentials):
    made = submit(seeds=1)["id"]
    assert api.get(ROOT, headers=credentials).status_code == 200
    assert api.get(ROOT, headers=credentials | {"Host": "localhost:8000"}).status_code == 200
    calls = [("GET", path) for path in ("/", "/metrics", "/docs", "/openapi.json", "/cluster", "/nothing", ROOT)]
    calls += [("HEAD", ROOT), ("OPTIONS", ROOT), ("POST", f"{ROOT}/preview"), ("POST", f"{ROOT}/{made}/cancel")]
    calls += [("PATCH", f"{ROOT}/{made}"), ("DELETE", f"{ROOT}/{made}"), ("POST", f"/experiments/{made}/cancel")]
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:8000", ""):
        rebound = credentials | {"Host": host, "Origin": f"http://{host}"}
        assert {(call, api.request(*call, headers=rebound).status_code) for call in calls} == {(c, 403) for c in calls}
    assert api.get(f"{ROOT}/{made}").json()["state"] == "queued"


def test_an_open_service_refuses_changes_from_other_pages(api):
    assert api.post(f"{ROOT}/preview", json={}, headers={"Origin": "http://evil.example"}).status_code == 403


def test_the_first_token_closes_the_service_even_once_it_is_revoked(store, api):
    tokens.create_token(store, "first", Scope.READ)
    tokens.revoke_token(store, "first")
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as fresh:
        assert fresh.get(ROOT).status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_an_address_for_other_machines_is_refused_until_a_token_exists(store, host):
    application = create_app(Settings(host=host), store)
    with pytest.raises(Forbidden, match="nfa token create"), TestClient(application):
        pass
    tokens.create_token(store, "first", Scope.READ)
    with TestClient(application, base_url="http://10.0.0.1") as client:
        assert client.get(ROOT).status_code == 401


def test_secrets_are_not_stored_and_the_last_use_is_noted(store, api, secrets):
    api.get(ROOT, headers=bearer(secrets["read"]))
    found = {one.name: one for one in tokens.list_tokens(store)}
    assert found["reader"].last_used_at is not None and found["root"].last_used_at is None
    with store.read() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM token").all())
    assert not any(secret in stored for kind, secret in secrets.items() if kind != "nonsense")


def test_too_many_requests_are_told_when_to_come_again(store):
    settings = Settings(requests_per_second=0.5)
    with TestClient(create_app(settings, store), base_url="http://127.0.0.1") as client:
        answers = [client.get(ROOT) for _ in range(7)]
    assert [one.status_code for one in answers] == [200] * 5 + [429] * 2
    assert answers[-1].json()["code"] == "too_many" and 1 <= int(answers[-1].headers["retry-after"]) <= 2


def test_a_queue_that_would_grow_too_long_is_refused_whole(store, tiny_grid):
    with TestClient(create_app(Settings(max_queued=7), store), base_url="http://127.0.0.1") as client:
        assert client.post(ROOT, json=tiny_grid()).status_code == 201
        refused = client.post(ROOT, json=tiny_grid(seeds=4))
        assert refused.status_code == 429 and "8" in refused.json()["detail"]
        assert client.post(ROOT, json=tiny_grid(seeds=[7], axes={})).status_code == 201
        assert len(client.get(ROOT).json()["items"]) == 2


def test_what_is_open_is_a_short_list():
    assert {path for path in OPEN_PATHS if needed_scope("POST", path) is None} == {
        *("/healthz", "/readyz", "/login", "/logout"),
        # editors that complete a grid send no token, and it tells nothing of anybody's
        "/grid-schema.json",
    }
    assert needed_scope("GET", "/static/../api/v1/experiments") is None  # no route: paths are not normalised
    assert needed_scope("DELETE", "/anything/new") is Scope.SUBMIT


def test_nothing_that_queues_trials_makes_a_queue_longer_than_it_may_be(store, tiny_grid):
    with TestClient(create_app(Settings(max_queued=6), store), base_url="http://127.0.0.1") as client:

        def made(first):
            return client.post(ROOT, json=tiny_grid(seeds=[first, first + 1, first + 2])).json()["id"]

        def refused(path, **body):
            answer = client.post(path, **body)
            counts = client.get(f"{ROOT}/{path.split('/')[4]}").json()["counts"]
            assert answer.status_code == 429 and answer.json()["code"] == "too_many", path
            assert "12 unfinished trials" in answer.json()["detail"]
            return counts

        cancelled, paused, waiting = made(0), None, None
        client.post(f"{ROOT}/{cancelled}/cancel")
        paused = made(10)
        client.post(f"{ROOT}/{paused}/pause")
        waiting = made(20)
        assert refused(f"{ROOT}/{cancelled}/retry", json={"which": "cancelled"})["cancelled"] == 6
        assert refused(f"{ROOT}/{paused}/resume")["queued"] == 6
        assert client.get(f"{ROOT}/{paused}").json()["state"] == "paused"
        assert refused(f"{ROOT}/{waiting}/extend", json={"seeds": [30, 31, 32]})["queued"] == 6
        assert client.post(f"/experiments/{cancelled}/retry", data={"which": "cancelled"}).status_code == 429
        assert client.post(f"/experiments/{paused}/resume").status_code == 429
        claims = [{"id": "a", "metric": "alignment", "every_trial": ">= 0"}]
        assert client.post(f"{ROOT}/{waiting}/claims", json={"claims": claims}).status_code == 200
        assert client.post(f"{ROOT}/{waiting}/resume").status_code == 200
        client.post(f"{ROOT}/{waiting}/cancel")
        assert client.post(f"{ROOT}/{paused}/resume").status_code == 200


def test_a_queue_is_its_owners_and_others_do_not_count(store, tiny_grid):
    tokens_of = {name: tokens.create_token(store, name, Scope.SUBMIT) for name in ("anna", "ben")}
    with TestClient(create_app(Settings(max_queued=6), store), base_url="http://127.0.0.1") as client:
        for first, (name, secret) in enumerate(tokens_of.items()):
            grid = tiny_grid(seeds=[10 * first, 10 * first + 1, 10 * first + 2])
            assert client.post(ROOT, json=grid, headers=bearer(secret)).status_code == 201, name
