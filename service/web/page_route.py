"""What every page has: templates that escape, a strict Content-Security-Policy, errors that people can read."""

import json
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from service.api.forwarding import to_root
from service.api.problem_answers import headers_of
from service.errors import InvalidRequest, ServiceError
from service.questions.number_format import counted, number
from service.web.notes import rendered

FOLDER: Final = Path(__file__).parent
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


_REST: Final = re.compile(r": GET /\S+ lists .*")
"""What programs do next where something is not there; people have the links of the page."""
_METRICS: Final = "GET /metric-definitions lists them"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not known yet"
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted path -> value."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        path = f"{prefix}{name}"
        found |= _flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return found


def _plain(value: Any) -> str:
    """A setting as it would be written in a grid."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(f"[{_plain(one)}]" if isinstance(one, list | tuple) else _plain(one) for one in value)
    return number(value) if isinstance(value, float) else json.dumps(value, default=str)


def _breaking(path: str) -> Markup:
    """A dotted path that a narrow column may break behind its dots."""
    return Markup(".<wbr>").join(path.split("."))


def _query(given: Mapping[str, Any]) -> str:
    """The part of an address behind the question mark; what is empty stays out."""
    return urlencode({name: value for name, value in given.items() if value not in (None, "", False)})


_templates = Environment(
    loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_templates.filters |= {"number": number, "duration": _duration, "flat": _flat, "query": _query}
_templates.filters |= {"plain": _plain, "breaking": _breaking, "markdown": rendered, "counted": counted}


def render(name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page from its template."""
    return HTMLResponse(_templates.get_template(name).render(**values), status, headers=HEADERS)


def render_error(
    request: Request, status: int, title: str, detail: str, errors: Sequence[Mapping[str, Any]] = ()
) -> HTMLResponse:
    """A page that says what is wrong, at whatever address."""
    root = to_root(request.scope["raw_path"].decode("latin-1"))
    said = _REST.sub("; it was mistyped, or deleted", detail).replace(_METRICS, "Metrics, above, has those there are")
    return render("error.html", status, root=root, title=title, detail=said, errors=errors)


async def form_of(request: Request) -> dict[str, str]:
    """Fields of a submitted form (application/x-www-form-urlencoded); of repeated ones the last."""
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise InvalidRequest("a form has at most 100 fields") from error


class PageRoute(APIRoute):
    """Answers errors as a page instead of as a problem document."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with its errors caught."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except ServiceError as error:
                request.scope["state"]["refusal"] = error.code
                page = render_error(request, error.status, error.title, error.detail, error.errors)
                page.headers.update(headers_of(error))
                return page
            except RequestValidationError as error:
                wrong = [{"path": str(one["loc"][-1]), "message": one["msg"]} for one in error.errors()[:20]]
                return render_error(request, 422, "The address is not valid", "", wrong)

        return handled
