"""The OpenAPI document says what the middleware and the error handlers do, so that generated clients work."""

import re

import pytest
from fastapi.testclient import TestClient

from service.main import create_app
from service.settings import Settings
from service.store import tokens
from service.tokens import Scope

ROOT = "/api/v1/experiments"
OPEN = {"/healthz", "/readyz"}


@pytest.fixture(scope="module")
def document():
    return create_app(Settings()).openapi()


def operations(document):
    return [(path, method, one) for path, item in document["paths"].items() for method, one in item.items()]


def test_a_token_is_sent_to_every_operation_but_the_open_ones(document):
    schemes = document["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["cookie"]["in"], schemes["cookie"]["name"]) == ("cookie", "nfa_token")
    assert document["security"] == [{"bearer": []}, {"cookie": []}]
    assert {path for path, _, one in operations(document) if one.get("security") == []} == OPEN


def test_refusals_are_documented_where_they_happen(document):
    for path, method, one in operations(document):
        documented = set(one["responses"])
        if path not in OPEN:
            assert {"401", "403", "422", "429", "503", "504"} <= documented, (method, path)
        assert ("413" in documented) == ("408" in documented) == ("requestBody" in one), (method, path)
        assert "404" in documented or "{" not in path, (method, path)
        for status, response in one["responses"].items():
            if int(status) >= 400:
                assert set(response["content"]) == {"application/problem+json"}, (method, path, status)
    conflicts = {(method, path) for path, method, one in operations(document) if "409" in one["responses"]}
    assert {("post", f"{ROOT}/{{experiment_id}}/extend"), ("post", f"{ROOT}/{{experiment_id}}/claims")} <= conflicts
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_headers_of_answers_are_documented(document):
    def headers(path, method, status):
        return set(document["paths"][path][method]["responses"][status]["headers"])

    assert {"Location", "Idempotency-Replayed"} <= headers(ROOT, "post", "201")
    assert {"Location"} <= headers("/api/v1/datasets", "post", "200") & headers("/api/v1/datasets", "post", "201")
    assert {"ETag", "Vary"} <= headers(f"{ROOT}/{{experiment_id}}/curves", "get", "200")
    for path, method, one in operations(document):
        for status, response in one["responses"].items():
            found = set(response["headers"])
            assert "X-Request-ID" in found, (method, path)
            assert ("Retry-After" in found) == (status in ("429", "503")), (method, path, status)
    responses = [response for *_, one in operations(document) for response in one["responses"].values()]
    named = {name for response in responses for name in response["headers"]}
    assert named <= set(document["components"]["headers"])


def test_every_reference_leads_somewhere(document):
    def references(value):
        if isinstance(value, dict):
            yield from (one for key, one in value.items() if key == "$ref")
            yield from (found for one in value.values() for found in references(one))
        elif isinstance(value, list):
            yield from (found for one in value for found in references(one))

    for reference in set(references(document)):
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_results_curves_measurements_and_events_have_types(document):
    schemas = document["components"]["schemas"]
    assert {"trials", "incomplete"} <= set(schemas["ResultRow"]["properties"])
    assert {"trials", "incomplete", "step", "time"} <= set(schemas["Curve"]["properties"])
    assert {"step", "time"} == set(schemas["TrialSeries"]["required"])
    for name in ("ResultRow", "Curve", "TrialSeries"):
        assert schemas[name]["additionalProperties"]["anyOf"]
    stream = document["paths"][f"{ROOT}/{{experiment_id}}/events"]["get"]["responses"]["200"]["content"]
    kinds = stream["text/event-stream"]["schema"]["x-events"]
    assert set(kinds) == {"state", "progress", "end", "deleted"}


def test_what_is_answered_is_what_is_documented(store, document, submit, train_queue, api):
    made = submit()["id"]
    train_queue()
    for name in ("results", "curves", "phase?x=training.weight_decay&y=seed", "verdicts", "trials"):
        answer = api.get(f"{ROOT}/{made}/{name}")
        varied = {one.strip() for one in answer.headers["vary"].split(",")}
        assert "Accept" in varied and answer.headers["etag"], name
        unchanged = api.get(f"{ROOT}/{made}/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert unchanged.status_code == 304 and "Accept" in unchanged.headers["vary"]
    tokens.create_token(store, "first", Scope.READ)
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as closed:
        for path, method, one in operations(document):
            answer = closed.request(method, re.sub(r"\{[a-z_]+\}", "e1", path))
            response = one["responses"][str(answer.status_code)]
            assert {name.lower() for name in response["headers"]} <= set(answer.headers), (method, path)
