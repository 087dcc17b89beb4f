"""What every call of the client goes through: the root of the API, JSON bodies, pages of lists."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from service.client.grids import json_of
from service.client.transport import Transport

_PAGE: Final = 200


class Calls:
    """Calls over one transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _call(self, method: str, path: str, **more: Any) -> Any:
        return self._transport.call(method, f"/api/v1{path}", **more)

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        return self._call(method, path, content=json_of(body), headers=headers)

    def _pages(self, path: str, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = self._call("GET", path, params={"limit": _PAGE, **params, "cursor": cursor})
            yield from page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return


def joined(names: Sequence[str] | None) -> str | None:
    """Names as one query parameter; a single string is one name."""
    return names if names is None or isinstance(names, str) else ",".join(names)
