"""What routes take from the application: its store, its settings, and page parameters."""

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Query, Request

from service.errors import InvalidRequest
from service.settings import Settings
from service.store.session import Store

MAX_PAGE = 1_000


# async: a plain function would wait for a thread before it is called
async def _store(request: Request) -> Store:
    return request.app.state.store


async def _settings(request: Request) -> Settings:
    return request.app.state.settings


StoreDep = Annotated[Store, Depends(_store)]
SettingsDep = Annotated[Settings, Depends(_settings)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items per page.")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before.")]
Where = Annotated[
    str,
    Query(
        max_length=4000,
        description="Filter: `training.weight_decay >= 0.05 and not state in (failed, cancelled)`. Paths: settings, "
        "state, seed, final.METRIC and final.METRIC[layer].",
    ),
]


def encode_cursor(kind: str, key: str | int | None) -> str | None:
    """An opaque cursor; null stays null."""
    return None if key is None else base64.urlsafe_b64encode(f"{kind}:{key}".encode()).decode().rstrip("=")


def decode_cursor(kind: str, cursor: str | None) -> str | None:
    """The key in a cursor of this kind of list. Raises InvalidRequest for one of another list, or made up."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        text = ""
    found, _, key = text.partition(":")
    if found != kind or not key:
        raise InvalidRequest("cursor: give the `next_cursor` of the page before, or none to begin again")
    return key


def number_cursor(kind: str, cursor: str | None) -> int | None:
    """The same for lists whose keys are whole numbers."""
    key = decode_cursor(kind, cursor)
    if key is not None and not key.isdecimal():
        raise InvalidRequest("cursor: give the `next_cursor` of the page before, or none to begin again")
    return None if key is None else int(key)
