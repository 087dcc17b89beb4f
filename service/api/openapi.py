"""Completes the OpenAPI document: who may call, which refusals happen where, and which headers answers carry."""

import re
from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI

from service.api.access import COOKIE, needed_scope
from service.api.problem_answers import MEDIA_TYPE
from service.errors import QuestionTooSlow
from service.schemas.bodies import Problem
from service.schemas.experiments import DeletedEvent, EndEvent, ProgressEvent, StateEvent

_TEXTS: Final = {
    401: "No token that opens anything came along",
    403: "The token does not allow this, or the service was called by a name that is not its own",
    404: "No such thing",
    406: "None of the formats under Accept",
    408: "The body did not arrive in time",
    409: "It does not fit the present state",
    413: "The body is too large",
    415: "The body's content type is not read here",
    422: "Not valid; `errors` names every wrong field",
    429: "Too many requests, wrong tokens or queued trials",
    503: "The store is unavailable for now",
    QuestionTooSlow.status: "The question takes too long: ask for less",
}
_CONFLICTS: Final = {
    ("POST", "/api/v1/experiments"): "A dataset that the grid names was deleted at the same moment",
    ("POST", "/api/v1/experiments/{experiment_id}/extend"): "It was extended by somebody else at the same moment",
    ("POST", "/api/v1/experiments/{experiment_id}/claims"): "It has another claim of this id",
    ("GET", "/api/v1/experiments/{experiment_id}/bundle"): "Trials have not ended; the message names the experiment",
    ("DELETE", "/api/v1/datasets/{dataset_id}"): "Trials use it; the message names their experiments",
}
_RAW: Final = frozenset({"/api/v1/experiments", "/api/v1/experiments/preview", "/api/v1/datasets"})
"""Bodies of several content types."""
_TAGGED: Final = re.compile(r"/(results|curves|phase|verdicts|measurements|trials|weights|trials/\{trial_id\})$")
_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "X-Request-ID": {
        "description": "Of this request, as in the service's log; the caller's own where it is a plain word.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which to come again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {"required": True, "schema": {"type": "string"}},
    "Location": {"description": "Where it is.", "required": True, "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "true where an Idempotency-Key came again: the answer is the first one's.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "ETag": {
        "description": "Names the answer until a trial starts or ends; give it as If-None-Match.",
        "schema": {"type": "string"},
    },
    "Vary": {"description": "Accept: the format is chosen by it.", "schema": {"type": "string"}},
}
_SECURITY: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "nfa_..",
        "description": "A token of `nfa token create`; none is needed while the service has none and listens on this "
        "machine alone.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "The same, as the login page keeps it.",
    },
}


def complete_openapi(app: FastAPI) -> None:
    """Let the application's OpenAPI document say what its middleware and error handlers do."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(generate())
        return app.openapi_schema

    app.openapi = openapi


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in (Problem, StateEvent, ProgressEvent, EndEvent, DeletedEvent):
        schemas[model.__name__] = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schemas[model.__name__].pop("$defs", {})
    for name in ("HTTPValidationError", "ValidationError"):  # our 422 is another
        schemas.pop(name, None)
    components["headers"], components["securitySchemes"] = _HEADERS, _SECURITY
    document["security"] = [{name: []} for name in _SECURITY]
    for path, method, operation in _operations(document):
        _complete(path, method, operation)
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """Refusals and headers of one operation."""
    responses = operation["responses"]
    is_open = needed_scope(method, path) is None
    if is_open:
        operation["security"] = []
    for status in _refusals(path, method, operation, is_open):
        text = _CONFLICTS[method, path] if status == 409 else _TEXTS[status]
        schema = {"$ref": "#/components/schemas/Problem"}
        responses[str(status)] = {"description": text, "content": {MEDIA_TYPE: {"schema": schema}}}
    if _is_tagged(path, method):
        responses.setdefault("304", {"description": "Not changed since the ETag given under If-None-Match"})
    for status, response in responses.items():
        names = ["X-Request-ID", *_names(path, method, status)]
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _refusals(path: str, method: str, operation: dict[str, Any], is_open: bool) -> Iterator[int]:
    """Statuses of the refusals that can happen."""
    has_body = "requestBody" in operation
    yield from () if is_open else (401, 403, 429)
    yield from (404,) if "{" in path or "also" in _parameters(operation) else ()
    yield from (406,) if "406" in operation["responses"] else ()
    yield from (408, 413) if has_body else ()
    yield from (409,) if (method, path) in _CONFLICTS else ()
    yield from (415,) if path in _RAW and has_body else ()
    yield from (422,) if not is_open else ()  # also an address with a NUL
    yield from (503,) if path != "/healthz" else ()
    yield from (QuestionTooSlow.status,) if not is_open else ()


def _names(path: str, method: str, status: str) -> Iterator[str]:
    """Headers of an answer beside its id."""
    yield from ("Retry-After",) if status in ("429", "503") else ()
    yield from ("WWW-Authenticate",) if status == "401" else ()
    is_made = method == "POST" and path in ("/api/v1/experiments", "/api/v1/datasets") and status in ("200", "201")
    yield from ("Location",) if is_made else ()
    yield from ("Idempotency-Replayed",) if is_made and path.endswith("experiments") else ()
    yield from ("ETag", "Vary") if _is_tagged(path, method) and status in ("200", "304") else ()


def _is_tagged(path: str, method: str) -> bool:
    """Whether answers carry an ETag once they do not change by themselves."""
    return method == "GET" and _TAGGED.search(path) is not None


def _parameters(operation: dict[str, Any]) -> set[str]:
    return {one["name"] for one in operation.get("parameters", ())}
