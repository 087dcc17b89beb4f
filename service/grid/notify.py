"""Who is told, by a grid's `notify`: addresses, and what each is told about. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from service.grid.problems import Problems

EVENTS: Final = ("end", "failed", "verdict")
"""Every trial has ended; the first one has failed; everything has ended and there are claims that were judged."""
MAX_HOOKS: Final = 10
_MAX_URL: Final = 2000
_URL: Final = re.compile(r"https?://[!-~]+")
_EXAMPLE: Final = "https://example.org/hook"
_KEYS: Final = ("url", "on")


class Hook(NamedTuple):
    """An address, and the events it is told of."""

    url: str
    on: tuple[str, ...]


SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "pattern": "^https?://", "maxLength": _MAX_URL, "description": "POSTed to, signed."},
        "on": {
            "type": "array",
            "items": {"enum": list(EVENTS)},
            "minItems": 1,
            "description": "end: every trial has ended; failed: the first one failed; verdict: claims were judged.",
        },
    },
    "required": ["url"],
    "additionalProperties": False,
}
"""Of an entry, as JSON Schema."""


def read_notify(written: Sequence[Any], problems: Problems) -> tuple[Hook, ...]:
    """The entries, without those that are wrong, which are noted; one without `on` is told of the end."""
    found: dict[str, Hook] = {}
    for index, entry in enumerate(written):
        path = f"notify[{index}]"
        if not isinstance(entry, Mapping):
            problems.add(path, "must be a mapping", received=entry, allowed=f"{{url: {_EXAMPLE}, on: [end]}}")
            continue
        for key in entry:
            if key not in _KEYS:
                problems.unknown(f"{path}.{key}", "key", key, _KEYS)
        url, on = entry.get("url"), _events(entry.get("on"), f"{path}.on", problems)
        if wrong := _wrong(url):
            problems.add(f"{path}.url", wrong, received=url, allowed=_EXAMPLE)
        elif url in found:
            problems.add(f"{path}.url", "is told already: name it once, with all it is told of", received=url)
        else:
            found[url] = Hook(url, on)
    return tuple(found.values())


def _events(written: Any, path: str, problems: Problems) -> tuple[str, ...]:
    if written is None:
        return ("end",)
    words = [written] if isinstance(written, str) else written
    if not isinstance(words, list) or not words:
        problems.add(path, "must be a list of events", received=written, allowed=list(EVENTS))
        return ()
    for word in words:
        if word not in EVENTS:
            problems.unknown(path, "event", word, EVENTS)
    return tuple(word for word in EVENTS if word in words)


def _wrong(url: Any) -> str:
    """What is wrong with an address; empty for a good one."""
    if not isinstance(url, str) or not _URL.fullmatch(url) or len(url) > _MAX_URL:
        return f"must be an address that begins with https:// or http://, of at most {_MAX_URL} characters"
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "is no address: its host or port cannot be read"
    if not host:
        return "names no host"
    if parts.username is not None or parts.password is not None:
        return "holds a name or password, which everybody who sees the grid would see: what is sent is signed instead"
    return "has a part behind #, which is never sent" if parts.fragment else ""
