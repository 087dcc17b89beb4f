"""Where an answer sends on to: followed for reading on the same host, told in one line otherwise. Pure.

The token goes where it was meant to go: never to another host or port, and never from https to http.
"""

import re
from typing import Final, NamedTuple

import httpx

MOST: Final = 5
"""Redirects that are followed, one after the other."""
_PORTS: Final = {"http": 80, "https": 443}


class Refused(Exception):
    """A redirect that is not followed; the message says where the service seems to be."""


class Next(NamedTuple):
    """Where to ask next, and whether the token may come along."""

    url: str
    with_token: bool


def next_of(method: str, asked: httpx.URL, status: int, location: str) -> Next:
    """Where to go on after a redirect.

    Args:
        method: of the call.
        asked: where it was sent.
        status: of the answer.
        location: what its Location says.
    Raises:
        Refused: the call changes something, or it leads to another host, from https to http, or to another page.
    """
    told = f"{asked.scheme}://{_place(asked)} answered {status}"
    try:
        target = asked.join(location).copy_with(userinfo=b"", fragment=None)
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(f"{told} and leads nowhere: {location[:200]!r}") from error
    if target.scheme not in _PORTS or not target.host:
        raise Refused(f"{told} and leads to {location[:200]!r}, which is no address of a service")
    own = _own_part(asked.path)
    if not target.path.rstrip("/").endswith(own):
        page = f"{target.scheme}://{_place(target)}{target.path}"
        raise Refused(f"{told} and leads to another page, {page[:300]}: is it the service, and does it ask to sign in?")
    base = f"{target.scheme}://{_place(target)}{target.path.rstrip('/').removesuffix(own)}"
    moved = f"{told}: the service is at {base}, name that with --url or NFA_URL"
    if target.host != asked.host or (asked.scheme, target.scheme) == ("https", "http"):
        raise Refused(moved)
    if method != "GET":
        raise Refused(f"{moved} ({method} is not sent on)")
    if asked.query and not target.query:
        target = target.copy_with(query=asked.query)
    is_upgrade = (asked.scheme, target.scheme) == ("http", "https")
    return Next(str(target), with_token=is_upgrade or (asked.scheme, _port(asked)) == (target.scheme, _port(target)))


def _own_part(path: str) -> str:
    """What the service is asked for, without the prefix under which it lies and without a slash behind."""
    found = re.search(r"/(api/v\d+/.*|readyz|healthz)$", path)
    return (found[0] if found else path).rstrip("/")


def _place(url: httpx.URL) -> str:
    """Host and port as they are written."""
    return url.netloc.decode("ascii", "replace")


def _port(url: httpx.URL) -> int | None:
    return url.port or _PORTS.get(url.scheme)
