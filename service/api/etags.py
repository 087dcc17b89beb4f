"""ETags of answers about trials that have all ended: such an answer changes only when some of them run again."""

import hashlib

from fastapi import Request
from starlette.responses import Response

from nfa_kernels import names


def etag_of(request: Request, form: str, version: str | None) -> dict[str, str]:
    """The ETag header of an answer, none for one that may still change.

    Args:
        request: its address is part of the tag.
        form: the answer's format.
        version: what it is made from, as text; None while that changes by itself.
    """
    if version is None:
        return {"Cache-Control": "no-cache"}
    text = f"{request.app.version}/{names.NUMERICAL_VERSION} {request.url.path}?{request.url.query} {form} {version}"
    return {"ETag": f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"', "Cache-Control": "no-cache"}


def unchanged(request: Request, headers: dict[str, str]) -> Response | None:
    """304 where the caller already has the answer with these headers."""
    tag, given = headers.get("ETag"), request.headers.get("if-none-match")
    if tag is None or given is None:
        return None
    known = {part.strip().removeprefix("W/") for part in given.split(",")}
    if "*" in known or tag.removeprefix("W/") in known:
        return Response(status_code=304, headers=headers)
    return None
