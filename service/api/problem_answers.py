"""Turns every error into application/problem+json of at most 8 KiB, without echoing what was sent at length."""

import json
import math
from collections.abc import Sequence
from typing import Any

import structlog
from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.request_log import id_header
from service.errors import InvalidRequest, ServiceError
from service.grid.problems import Problems

log = structlog.get_logger()
MEDIA_TYPE = "application/problem+json"
MAX_BYTES = 8_000
_TITLES = {404: ("not_found", "Not found"), 405: ("method_not_allowed", "Method not allowed")}


def problem(
    status: int, code: str, title: str, detail: str, errors: Sequence[dict[str, Any]] = (), headers: Any = None
) -> Response:
    """A problem document; entries that would make it too long are left out, and said to be."""
    body = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail[:2000]}
    body["request_id"] = correlation_id.get()
    kept = list(errors)
    while True:
        text = json.dumps(body | {"errors": kept}, allow_nan=False, default=str)
        if len(text) <= MAX_BYTES or not kept:
            return _Problem(code, text, status, headers=headers, media_type=MEDIA_TYPE)
        kept.pop()


def _keys_of_body(request: Request) -> list[str]:
    """The keys that a route's body may have."""
    field = getattr(request.scope.get("route"), "body_field", None)
    return list(getattr(field and field.field_info.annotation, "model_fields", ()))


class _Problem(Response):
    """Leaves its code in the request's state, for the log."""

    def __init__(self, code: str, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["refusal"] = self.code
        await super().__call__(scope, receive, send)


def answer(error: ServiceError) -> Response:
    """The problem document of one of our errors."""
    return problem(error.status, error.code, error.title, error.detail, error.errors, headers_of(error))


def headers_of(error: ServiceError) -> dict[str, str]:
    """What the status of one of our errors asks for."""
    if error.status == 401:
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": str(math.ceil(error.retry_after_seconds))} if error.status in (429, 503) else {}


def add_handlers(app: FastAPI) -> None:
    """Answer the application's errors as problem documents; async, so that no refusal waits for a thread."""

    @app.exception_handler(ServiceError)
    async def _service_error(_: Request, error: ServiceError) -> Response:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        problems, known = Problems(), _keys_of_body(request)
        for detail in error.errors()[:20]:
            path = ".".join(str(part) for part in detail["loc"][1:]) or str(detail["loc"][0])
            if detail["type"] == "extra_forbidden" and len(detail["loc"]) > 2:
                problems.add(path, "unknown key", received=detail["loc"][-1])
            else:
                problems.add_pydantic(detail, path, known)
        return answer(problems.as_error(InvalidRequest))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:  # FastAPI's word for a JSON body that is not even text
            return answer(InvalidRequest("the body cannot be read: send JSON in UTF-8"))
        code, title = _TITLES.get(error.status_code, ("http_error", "The request failed"))
        detail = f"{request.method} {request.url.path[:200]}: {error.detail}. See /docs for what there is."
        return problem(error.status_code, code, title, detail, headers=error.headers)

    @app.exception_handler(ClientDisconnect)
    async def _gone(request: Request, _: ClientDisconnect) -> Response:
        log.info("client_went_away", method=request.method, path=request.url.path[:200])
        return problem(400, "client_went_away", "The client went away", "nobody reads this")

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        log.exception("unexpected_error", method=request.method, path=request.url.path[:200], exc_info=error)
        detail = "This is a defect; the service's log has the details."
        return problem(500, "internal", "The service failed", detail, headers=id_header())
