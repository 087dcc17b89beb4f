"""ETags of answers about trials that have all ended: such an answer changes only when some of them run again.

So it is made once: the last ones are kept, and given to whoever asks for the same.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from fastapi import Request
from starlette.responses import Response

from nfa_kernels import names

_KEPT_BYTES: Final = 16 << 20
_LARGEST_KEPT_BYTES: Final = 4 << 20
_ENTRY_BYTES: Final = 1 << 10
"""What an answer takes beside its body."""


class KeptAnswers:
    """Bodies of the answers last asked for, by their ETag, at most so many bytes of memory."""

    def __init__(self, most_bytes: int = _KEPT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bodies: OrderedDict[str, tuple[bytes, dict[str, str]]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, tag: str) -> Response | None:
        """The answer with this ETag, where it is kept."""
        with self._lock:
            if tag not in self._bodies:
                return None
            self._bodies.move_to_end(tag)
            body, headers = self._bodies[tag]
        return Response(body, headers=headers)

    def put(self, tag: str, answer: Response) -> None:
        """Keep an answer, and drop those that nobody asked for longest; a very large one is not kept."""
        body = bytes(answer.body)
        if len(body) > min(_LARGEST_KEPT_BYTES, self._most_bytes):
            return
        with self._lock:
            if tag not in self._bodies:
                self._bodies[tag] = (body, dict(answer.headers))
                self._bytes += len(body) + _ENTRY_BYTES
            while self._bytes > self._most_bytes:
                _, (dropped, _) = self._bodies.popitem(last=False)
                self._bytes -= len(dropped) + _ENTRY_BYTES


def answer_once(
    request: Request, form: str, version: str | None, make: Callable[[dict[str, str]], Response]
) -> Response:
    """A whole answer, made where it is not kept; 304 where the caller has it.

    Args:
        request: its address is part of the ETag.
        form: the answer's format.
        version: what it is made from, as text; None while that changes by itself.
        make: the answer with these headers.
    """
    headers = etag_of(request, form, version)
    if (same := unchanged(request, headers)) is not None:
        return same
    tag = headers.get("ETag")
    if tag is None:
        return make(headers)
    kept: KeptAnswers = request.app.state.kept_answers
    answer = kept.get(tag)
    if answer is None:
        answer = make(headers)
        kept.put(tag, answer)
    return answer


def etag_of(request: Request, form: str, version: str | None) -> dict[str, str]:
    """The ETag header of an answer, none for one that may still change.

    Args:
        request: its address is part of the tag.
        form: the answer's format.
        version: what it is made from, as text; None while that changes by itself.
    """
    if version is None:
        return {"Cache-Control": "no-cache", "Vary": "Accept"}
    text = f"{request.app.version}/{names.NUMERICAL_VERSION} {request.url.path}?{request.url.query} {form} {version}"
    return {
        "ETag": f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"',
        "Cache-Control": "no-cache",
        "Vary": "Accept",
    }


def unchanged(request: Request, headers: dict[str, str]) -> Response | None:
    """304 where the caller already has the answer with these headers."""
    tag, given = headers.get("ETag"), request.headers.get("if-none-match")
    if tag is None or given is None:
        return None
    known = {part.strip().removeprefix("W/") for part in given.split(",")}
    if "*" in known or tag.removeprefix("W/") in known:
        return Response(status_code=304, headers=headers)
    return None
