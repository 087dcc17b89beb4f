"""A slash at the end of a call's path means the same call: a redirect would lose the body of a POST."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

_PREFIX: Final = "/api/v1/"


class Slashes:
    """ASGI middleware: takes slashes from the ends of the API's paths; pages keep theirs."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its plain path."""
        if scope["type"] == "http" and scope["path"].startswith(_PREFIX) and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/")}
        await self.app(scope, receive, send)
