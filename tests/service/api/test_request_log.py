"""Every request has an id: in the answer, in problem documents and on each line of the log; refusals are logged."""

import re

import pytest
import structlog
from fastapi.testclient import TestClient

from service.main import create_app
from service.settings import Settings
from service.store import tokens
from service.tokens import Scope, new_token

ROOT = "/api/v1/experiments"


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def test_every_refusal_is_logged_with_the_id_that_its_answer_has(store, tiny_grid, lines):
    secrets = {scope: tokens.create_token(store, scope.value, scope) for scope in Scope}
    read, submit = bearer(secrets[Scope.READ]), bearer(secrets[Scope.SUBMIT])
    settings = Settings(max_body_bytes=2000, max_queued=1)
    with TestClient(create_app(settings, store), "http://127.0.0.1", raise_server_exceptions=False) as api:
        asked = [
            (401, "unauthorised", api.get(ROOT)),
            (401, "unauthorised", api.post(ROOT, headers=bearer(new_token()))),
            (403, "forbidden", api.post(ROOT, headers=read, json={})),
            (403, "forbidden", api.post(ROOT, headers=submit | {"Origin": "http://evil.example"})),
            (404, "not_found", api.get(f"{ROOT}/e9", headers=read)),
            (404, "not_found", api.get("/nothing", headers=read)),
            (405, "method_not_allowed", api.put(ROOT, headers=submit)),
            (406, "not_acceptable", api.get(f"{ROOT}/e9/results", headers=read | {"Accept": "image/png"})),
            (413, "too_large", api.post(ROOT, headers=submit, content=b"x" * 3000)),
            (415, "unsupported_media_type", api.post(ROOT, headers=submit | {"Content-Type": "text/html"})),
            (422, "invalid_grid", api.post(ROOT, headers=submit, json={"axs": 1})),
            (422, "invalid_request", api.get(f"{ROOT}?limit=x", headers=read)),
            (422, "invalid_request", api.get(f"{ROOT}?q=%00", headers=read)),
            (429, "too_many", api.post(ROOT, headers=submit, json=tiny_grid())),
        ]
    logged = {line["request_id"]: line for line in lines if line["event"] == "request"}
    for status, code, answer in asked:
        assert answer.status_code == status, answer.text
        identity = answer.headers["x-request-id"]
        assert answer.json()["request_id"] == identity and answer.json()["code"] == code
        line = logged[identity]
        assert (line["status"], line["code"], line["method"]) == (status, code, answer.request.method)
        assert "owner" in line or line["peer"] == "testclient"
    assert len({answer.headers["x-request-id"] for *_, answer in asked}) == len(asked)
    assert not any(secret in str(lines) for secret in secrets.values())


def test_too_many_requests_are_logged(store, lines):
    with TestClient(create_app(Settings(requests_per_second=0.1), store), "http://127.0.0.1") as api:
        assert [api.get(ROOT).status_code for _ in range(2)] == [200, 429]
    assert [(line["status"], line["code"]) for line in lines] == [(429, "too_many")]


def test_a_person_without_a_token_who_is_sent_to_sign_in_is_logged(store, lines):
    tokens.create_token(store, "first", Scope.READ)
    with TestClient(create_app(Settings(), store), "http://127.0.0.1", follow_redirects=False) as api:
        assert api.get("/", headers={"Accept": "text/html"}).status_code == 303
    assert [(line["status"], line["code"]) for line in lines] == [(303, "unauthorised")]


def test_a_defect_is_logged_and_answered_with_one_id_on_pages_too(store, lines):
    application = create_app(Settings(), store)

    @application.get("/broken")
    def broken():
        raise ZeroDivisionError

    with TestClient(application, "http://127.0.0.1", raise_server_exceptions=False) as api:
        for accept in ("text/html", "application/json"):
            lines.clear()
            answer = api.get("/broken", headers={"X-Request-ID": "mine-1", "Accept": accept})
            assert answer.status_code == 500 and answer.headers.get_list("x-request-id") == ["mine-1"]
            assert {line["event"] for line in lines} == {"request", "unexpected_error"}
            assert {line["request_id"] for line in lines} == {"mine-1"}
            assert "mine-1" in answer.text


@pytest.mark.parametrize("given", ["mine-1", "0af7651916cd43dd8448eb211c80319c", "a.b_c:d"])
def test_a_callers_own_id_is_kept(api, given):
    assert api.get(ROOT, headers={"X-Request-ID": given}).headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", ["", "a b", "x" * 101, 'a"b', "<script>", "a\tb", "é", "a;b", "${jndi}"])
def test_an_id_that_is_no_plain_word_is_replaced(api, given):
    answer = api.get(f"{ROOT}/e9", headers={"X-Request-ID": given.encode()})
    found = answer.headers.get_list("x-request-id")
    assert len(found) == 1 and re.fullmatch("[0-9a-f]{32}", found[0]) and answer.json()["request_id"] == found[0]


def test_what_is_logged_inside_a_route_carries_the_id_whichever_thread_it_ran_in(store, lines):
    application = create_app(Settings(), store)

    @application.get("/api/v1/telling")
    def telling():
        structlog.get_logger().info("inside")

    with TestClient(application, "http://127.0.0.1") as api:
        for number in range(3):
            api.get("/api/v1/telling", headers={"X-Request-ID": f"n{number}"})
    assert [line["request_id"] for line in lines if line["event"] == "inside"] == ["n0", "n1", "n2"]


def test_a_page_that_is_refused_is_logged(api, lines):
    assert api.get("/experiments/e9", headers={"Accept": "text/html"}).status_code == 404
    assert [(line["status"], line["code"]) for line in lines] == [(404, "not_found")]
