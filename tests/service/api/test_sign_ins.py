"""Tokens that open nothing: how many an address may present, and what they cost the others."""

import contextlib

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from service.api.sign_ins import SignIns, peer_of
from service.main import create_app
from service.settings import Settings
from service.store import tokens
from service.tokens import Scope, new_token

ROOT = "/api/v1/experiments"


@pytest.fixture
def api(store):
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        yield client


def ask(api, secret, **more):
    return api.get(ROOT, headers={"Authorization": f"Bearer {secret}"}, **more)


@contextlib.contextmanager
def counted_queries(store):
    """How many statements the store is asked."""
    seen = []

    def note(*_):
        seen.append(1)

    event.listen(store._reader, "before_cursor_execute", note)
    yield seen
    event.remove(store._reader, "before_cursor_execute", note)


def test_an_address_that_presents_unknown_tokens_is_told_to_wait_and_the_store_is_left_alone(store, api):
    known, unheard_of = (tokens.create_token(store, name, Scope.READ) for name in ("known", "new"))
    assert ask(api, known).status_code == 200
    answers = [ask(api, new_token()) for _ in range(30)]
    statuses = [one.status_code for one in answers]
    assert statuses[:10] == [401] * 10 and statuses[-1] == 429
    assert answers[-1].json()["code"] == "too_many" and int(answers[-1].headers["retry-after"]) >= 1
    with counted_queries(store) as queries:
        refused = [ask(api, new_token()).status_code for _ in range(200)]
    assert refused.count(429) >= 190 and len(queries) < 40
    assert ask(api, known).status_code == 200, "who was known before is let in from that address too"
    elsewhere = TestClient(api.app, base_url="http://127.0.0.1", client=("192.0.2.7", 5))
    assert ask(elsewhere, unheard_of).status_code == 200, "and everybody from another one"


def test_more_unknown_tokens_than_are_remembered_do_not_displace_a_known_one(store, api):
    known = tokens.create_token(store, "known", Scope.READ)
    assert ask(api, known).status_code == 200
    sign_ins = api.app.state.sign_ins
    now = sign_ins._clock()
    sign_ins._clock = lambda: now
    sign_ins._unknown.update({str(number): now for number in range(10_000)})
    for number in range(20):
        elsewhere = TestClient(api.app, base_url="http://127.0.0.1", client=(f"192.0.2.{number}", 5))
        assert ask(elsewhere, new_token()).status_code == 401
    assert len(sign_ins._unknown) == 10_000
    with counted_queries(store) as queries:
        tokens.revoke_token(store, "known")
        queries.clear()
        assert ask(api, known).status_code == 200, "for five seconds it is remembered"
        found = len(queries)
    with counted_queries(store) as queries:
        assert api.get(ROOT, headers={"Authorization": f"Bearer {known}"}).status_code == 200
    assert len(queries) == found, "both asked for the list alone"


def test_a_token_that_opened_something_is_looked_up_again_after_five_seconds(store, api):
    known = tokens.create_token(store, "known", Scope.READ)
    assert ask(api, known).status_code == 200
    for _ in range(30):
        ask(api, new_token())
    later = api.app.state.sign_ins._clock() + 6
    api.app.state.sign_ins._clock = lambda: later
    assert ask(api, known).status_code == 200
    tokens.revoke_token(store, "known")
    later += 6
    assert ask(api, known).status_code == 401


def test_repeating_one_wrong_token_is_an_ordinary_refusal_that_asks_the_store_once(store, api):
    tokens.create_token(store, "first", Scope.READ)
    secret = new_token()
    assert ask(api, secret).status_code == 401
    with counted_queries(store) as queries:
        assert {ask(api, secret).status_code for _ in range(40)} == {401}
    assert not queries


@pytest.mark.parametrize("kind", [new_token, lambda: "hunter2", lambda: ""])
def test_signing_in_on_the_page_is_limited_too(store, api, kind):
    tokens.create_token(store, "first", Scope.READ)
    # however long twenty answers take here: another one is allowed every second
    api.app.state.sign_ins = SignIns(Settings().failed_sign_ins_per_minute, clock=lambda: 0.0)
    answers = [api.post("/login", data={"token": kind()}) for _ in range(20)]
    assert [one.status_code for one in answers[:10]] == [401] * 10
    assert answers[-1].status_code == 429 and "retry-after" in answers[-1].headers


def test_requests_without_a_token_are_limited_by_address(store):
    tokens.create_token(store, "first", Scope.READ)
    with TestClient(create_app(Settings(requests_per_second=0.5), store), base_url="http://127.0.0.1") as api:
        for headers in ({}, {"Authorization": "Bearer hunter2"}):
            statuses = [api.get(ROOT, headers=headers).status_code for _ in range(8)]
            assert statuses[-1] == 429
        assert api.get("/healthz").status_code == 200


def test_an_open_service_stays_open_to_whoever_sends_tokens_that_open_nothing(api):
    assert {ask(api, new_token()).status_code for _ in range(30)} == {200}


@pytest.mark.parametrize(
    ("client", "peer"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("testclient", 5), "testclient"),
        (None, "unknown"),
    ],
)
def test_an_address_is_what_one_customer_has(client, peer):
    assert peer_of({"client": client}) == peer
