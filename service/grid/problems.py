"""What is wrong with a request body, collected so that one answer names every wrong field."""

import difflib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic_core import ErrorDetails

from service.errors import ServiceError

MAX_PROBLEMS: Final = 20
MAX_RECEIVED: Final = 200
MANY_KEYS: Final = 100
MAX_MESSAGE: Final = 500
_PATH_PARTS: Final = re.compile(r"[.\[]")
NOTHING: Final = object()
"""Stands for a value that is not there, which null is not."""


class Problems:
    """Collects wrong fields: one entry per path and message, at most twenty."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], dict[str, Any]] = {}
        self._lists: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def full(self) -> bool:
        """Whether looking further is pointless."""
        return len(self._entries) >= MAX_PROBLEMS

    def add(
        self,
        path: str,
        message: str,
        *,
        received: Any = NOTHING,
        allowed: Any = None,
        nearest: str | None = None,
    ) -> None:
        """Note one wrong field; what was received is kept shortened. Nothing more is noted once there are twenty."""
        if self.full:
            return
        path, message = shortened(path), shortened(message, MAX_MESSAGE)
        entry: dict[str, Any] = {"path": path, "message": message}
        if received is not NOTHING:
            entry["received"] = shortened(received)
        # the same long list once: an answer has room for little
        if allowed is not None and not (isinstance(allowed, list) and allowed in self._lists):
            entry["allowed"] = allowed
            self._lists.append(allowed)
        if nearest is not None:
            entry["nearest"] = nearest
        self._entries.setdefault((path, message), entry)

    def unknown(self, path: str, kind: str, name: Any, known: Iterable[str], meant: str | None = None) -> None:
        """Note a name that does not exist, with those that do and the one that was meant, else the nearest of them."""
        if self.full:
            return
        known = list(known)
        near = meant or nearest(name, known)
        hint = f"did you mean {near}?" if near else _listed(kind, known)
        self.add(path, f"unknown {kind} {shortened(name)}; {hint}", received=name, allowed=known[:64], nearest=near)

    def raise_as(self, error: type[ServiceError]) -> None:
        """Raise the error if anything was noted."""
        if self._entries:
            raise self.as_error(error)

    def as_error(self, error: type[ServiceError]) -> ServiceError:
        """The error about what was noted; its detail is the first entry and the number of others."""
        entries = list(self._entries.values())
        more = f" (and {len(entries) - 1} more)" if len(entries) > 1 else ""
        first = entries[0]
        place = f"{first['path']}: " if first["path"] else ""
        return error(f"{place}{first['message']}{more}", errors=entries)

    def add_pydantic(self, error: ErrorDetails, path: str, known: Iterable[str]) -> None:
        """Note one of pydantic's errors at the path; `known` are the keys allowed where an unknown one stands."""
        context: Mapping[str, Any] = error.get("ctx") or {}
        if error["type"] == "extra_forbidden":
            self.unknown(path, "key", path, known)
        elif error["type"] == "one_of":
            self.unknown(path, "name", error["input"], context["allowed"])
        elif error["type"] == "missing":
            self.add(path, "is needed")
        elif error["type"] in _MAPPINGS:
            self.add(path, "must be a mapping of settings", received=error["input"], allowed=_allowed(context))
        else:
            message = error["msg"].removeprefix("Value error, ")
            self.add(path, message, received=error["input"], allowed=_allowed(context))


def _listed(kind: str, known: Sequence[str]) -> str:
    """The names there are, or of many where they are."""
    if len(known) <= _MOST_LISTED:
        return f"there are {', '.join(known)}"
    return _WHERE.get(kind, "`allowed` lists those there are")


_MOST_LISTED: Final = 24
_WHERE: Final = {
    "path": "settings have paths such as network.depth, which /grid-schema.json and the page /submit list",
    "metric": "GET /metric-definitions lists them",
}
_MAPPINGS: Final = frozenset({"model_type", "model_attributes_type", "dict_type"})


def without_most(written: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """A mapping with a hundred at most of the keys that nobody knows, also one level down: those tell enough."""
    if len(written) <= MANY_KEYS and not any(type(one) is dict and len(one) > MANY_KEYS for one in written.values()):
        return dict(written)
    kept = [key for key in known if key in written]
    kept += itertools.islice((key for key in written if key not in kept), MANY_KEYS)
    return {
        key: dict(itertools.islice(one.items(), MANY_KEYS)) if isinstance(one := written[key], Mapping) else one
        for key in kept
    }


def deepest(found: Sequence[tuple[str, ErrorDetails]]) -> Iterator[tuple[str, ErrorDetails]]:
    """Pydantic's errors by path, without those of a union's branches that gave up earlier than another."""
    above = {path[: end.start()] for path, _ in found for end in _PATH_PARTS.finditer(path)}
    for path, error in found:
        if error["type"] in ("value_error", "missing") or path not in above:
            yield path, error


def _allowed(context: Mapping[str, Any]) -> str | None:
    """The bounds or words in the context of a pydantic error."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >=", "max_length": "length <="}
    bounds = [f"{sign} {context[key]}" for key, sign in signs.items() if key in context]
    return ", ".join(bounds) or context.get("expected")


def nearest(name: Any, known: Sequence[str]) -> str | None:
    """The known name most like the given one, if any is like it; case and missing underscores count little."""
    if not isinstance(name, str) or len(name) > MAX_RECEIVED:
        return None
    plain = {_plain(candidate): candidate for candidate in reversed(known)}
    found = difflib.get_close_matches(_plain(name), list(plain), n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def shortened(value: Any, length: int = MAX_RECEIVED) -> str:
    """A string as it is, any other value as JSON; cut to 200 characters, safe to answer."""
    if isinstance(value, str):
        text = value[: length + 1].encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    elif isinstance(value, int) and abs(value) >= 10**100:
        return f"a whole number of {value.bit_length()} bits"
    else:
        try:
            text = json.dumps(_head(value, length), ensure_ascii=True, default=str)
        except (ValueError, RecursionError):
            text = f"a {type(value).__name__}"
    return text if len(text) <= length else text[: length - 3] + "..."


def _head(value: Any, length: int) -> Any:
    """The beginning of what is long or nested: no more than could be shown."""
    left = length

    def cut(inner: Any) -> Any:
        nonlocal left
        left -= 1
        if isinstance(inner, str):
            return inner[:length]
        if isinstance(inner, list | tuple):
            return [cut(one) for one in itertools.islice(inner, length) if left > 0]
        if isinstance(inner, Mapping):
            return {str(key)[:length]: cut(one) for key, one in itertools.islice(inner.items(), length) if left > 0}
        return inner

    return cut(value)
