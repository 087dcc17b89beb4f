"""Errors outside the pages' own routes, as a page to people and as a problem document to programs."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.api.request_log import id_header
from service.web.page_route import render_error

_WORDS = {
    404: ("There is no such page", "Nothing is at this address: it was mistyped, or what it showed was deleted."),
    405: ("This address is not used like that", "Start from the list of experiments."),
}
_FAILED = (
    "The service failed",
    "This is a defect; its log has the details. Nothing that was stored is lost.",
)


def add_page_handlers(app: FastAPI) -> None:
    """Let browsers see a page where the application answers a problem document."""
    for kind in (HTTPException, Exception):
        app.add_exception_handler(kind, _for_browsers(app.exception_handlers[kind]))


def _for_browsers(answered: Callable[..., Any]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handled(request: Request, error: Exception) -> Response:
        problem = await answered(request, error)
        is_page = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")
        if not is_page:
            return problem
        title, detail = _WORDS.get(problem.status_code, _FAILED)
        if problem.status_code < 500:
            return render_error(request, problem.status_code, title, detail)
        header = id_header()  # such an answer is made outside of the middleware that numbers answers
        told = f"{detail} The request was {', '.join(header.values())}." if header else detail
        page = render_error(request, problem.status_code, title, told)
        page.headers.update(header)
        return page

    return handled
