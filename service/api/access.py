"""Who may do what: every request passes here before any route, page or file sees it.

What a request needs follows from its method and path alone, and what is not listed as open needs a token, so that a
route that is added later is closed from the start.
"""

import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Annotated, Final
from urllib.parse import urlsplit

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Depends, Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.forwarding import Asked, to_root
from service.api.problem_answers import answer
from service.api.rates import Rates
from service.api.request_log import READING
from service.api.sign_ins import REMEMBERED_SECONDS, peer_of
from service.errors import Forbidden, ServiceError, TooMany, Unauthorised
from service.settings import Settings
from service.store.session import Store
from service.store.tokens import has_tokens
from service.tokens import LOCAL, Actor, is_loopback
from service.tokens import Scope as TokenScope

COOKIE: Final = "nfa_token"
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/login", "/logout", "/grid-schema.json"})
OPEN_PREFIXES: Final = ("/static/",)
READING_PATHS: Final = frozenset({"/api/v1/experiments/preview"})
"""Answered without storing anything, although the grid comes as a body."""


def needed_scope(method: str, path: str) -> TokenScope | None:
    """What a token must allow for a request; None where none is needed."""
    if path in OPEN_PATHS or path.startswith(OPEN_PREFIXES):
        return None
    if method in READING or path.rstrip("/") in READING_PATHS:
        return TokenScope.READ
    return TokenScope.SUBMIT


class Access:
    """ASGI middleware: notes who makes a request, or refuses it."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self._open: tuple[float, bool] = (-REMEMBERED_SECONDS, False)
        self._rates = Rates(settings.requests_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through with `actor` in its state, or answer why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            scope.setdefault("state", {})["actor"] = await self._authorise(scope, headers)
        except ServiceError as error:
            scope["state"]["refusal"] = error.code
            login = RedirectResponse(f"{to_root(scope['path'])}login", 303)
            refusal = login if _is_reader(error, scope, headers) else answer(error)
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _authorise(self, scope: Scope, headers: Mapping[str, str]) -> Actor | None:
        needed = needed_scope(scope["method"], scope["path"])
        asked: Asked = scope["state"]["asked"]
        if scope["method"] not in READING:
            _check_origin(headers.get("origin"), asked)
        if needed is None:
            return None
        actor = await self._caller(scope, headers)
        self._take_turn(f"{actor.owner}/{actor.token}", _name(actor))
        if not actor.scope.includes(needed):
            raise Forbidden(f"the token {actor.token} has scope {actor.scope}; this call needs {needed}")
        return actor

    async def _caller(self, scope: Scope, headers: Mapping[str, str]) -> Actor:
        """Who makes the request. Raises Unauthorised."""
        application, peer = scope["app"].state, peer_of(scope)
        secret, came_as = _secret(headers)
        actor, refusal = None, None
        if secret is not None:
            try:
                actor = await application.sign_ins.actor_of(
                    application.store, application.threads.callers, secret, peer
                )
            except TooMany as error:
                refusal = error
        if actor is not None:
            return actor
        # whatever credentials came along: a page elsewhere may make some up
        if await self._is_open(application.store, application.threads.callers):
            for host in scope["state"]["asked"].hosts:
                self._check_host(host)
            return LOCAL
        self._take_turn(f"//{peer}", f"{peer}, without a token that opens anything,")
        raise refusal or Unauthorised(
            "send `Authorization: Bearer TOKEN`; who runs the service makes one: nfa token create"
            if secret is None
            else f"the token in the {came_as} opens nothing: it was revoked, has expired, or never was"
        )

    def _take_turn(self, bucket: str, who: str) -> None:
        """Count a request. Raises TooMany."""
        wait_seconds = self._rates.wait_seconds(bucket, time.monotonic())
        if wait_seconds > 0:
            error = TooMany(f"{who} makes more requests than NFA_REQUESTS_PER_SECOND allows: wait {wait_seconds:.1f} s")
            error.retry_after_seconds = wait_seconds
            raise error

    async def _is_open(self, store: Store, threads: CapacityLimiter) -> bool:
        """Whether requests need no token: on an address of this machine alone, while no token was ever made."""
        if not is_loopback(self.settings.host):
            return False
        now = time.monotonic()
        if now - self._open[0] > REMEMBERED_SECONDS:
            self._open = (now, not await run_sync(has_tokens, store.ahead(), limiter=threads))
        return self._open[1]

    def _check_host(self, host: str) -> None:
        """On an open service, refuse names that a page elsewhere could point at this machine."""
        name = urlsplit(f"//{host}").hostname or ""
        if not (is_loopback(name) or name == self.settings.host or name in self.settings.host_names):
            raise Forbidden(
                f"the service is open to this machine only, and was called as {host[:100]!r}: use 127.0.0.1 or "
                "localhost, or set NFA_HOST_NAMES"
            )


def _is_reader(error: ServiceError, scope: Scope, headers: Mapping[str, str]) -> bool:
    """Whether somebody without a token looks at a page, and can be asked for one."""
    is_page = scope["method"] == "GET" and not scope["path"].startswith("/api/")
    return isinstance(error, Unauthorised) and is_page and "text/html" in headers.get("accept", "")


def _check_origin(origin: str | None, asked: Asked) -> None:
    """Refuse changes that a page from elsewhere makes in somebody's browser."""
    if origin is None or asked.is_own(origin):
        return
    why = (
        f"{asked.distrusted} says who was asked, and NFA_FORWARDED_ALLOW_IPS does not name it"
        if asked.distrusted
        else "it has to say who was asked: nginx by `proxy_set_header Host $http_host;`, any by X-Forwarded-Host; "
        "or set NFA_PUBLIC_URL"
    )
    raise Forbidden(
        f"a page of {origin[:100]!r} asked for a change of {', '.join(map(repr, asked.hosts))[:200]}: changes are "
        "accepted from the service's own pages and from programs, not from other pages. If a proxy stands in between, "
        f"{why}"
    )


def _secret(headers: Mapping[str, str]) -> tuple[str | None, str]:
    """The token of a request and where it came from."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and given.strip():
        return given.strip(), "Authorization header"
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        morsel = None
    return (morsel.value or None, "cookie") if morsel is not None else (None, "")


def _name(actor: Actor) -> str:
    return f"the token {actor.token} of {actor.owner}" if actor.token else actor.owner


async def _actor(request: Request) -> Actor:
    return request.state.actor


ActorDep = Annotated[Actor, Depends(_actor)]


def require_change(actor: Actor, owner: str) -> None:
    """Refuse to steer somebody else's experiment. Raises Forbidden."""
    if not actor.may_change(owner):
        raise Forbidden(f"the experiment belongs to {owner}: only its owner or an admin may change it")
