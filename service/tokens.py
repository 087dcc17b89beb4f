"""Tokens, who holds them, and what they may do; pure but for the random numbers."""

import hashlib
import ipaddress
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from service.errors import Forbidden

PREFIX = "nfa_"
_FORM = re.compile(r"nfa_[A-Za-z0-9_-]{43}")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LIFETIME = re.compile(r"([1-9][0-9]{0,4})([hdw])")


class Scope(StrEnum):
    """What a token allows; each includes those before it."""

    READ = "read"
    """Look at everything."""
    SUBMIT = "submit"
    """Submit grids and data, and steer one's own experiments."""
    ADMIN = "admin"
    """Steer everybody's experiments."""

    def includes(self, needed: "Scope") -> bool:
        """Whether this scope is enough where `needed` is needed."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Actor:
    """Who makes a request."""

    owner: str
    """Whose experiments they may steer, and whose new ones will be."""
    scope: Scope
    token: str | None = None
    """Name of the token; null on an open service."""

    def may_change(self, owner: str) -> bool:
        """Whether they may steer an experiment of this owner."""
        return self.scope is Scope.ADMIN or (self.scope.includes(Scope.SUBMIT) and self.owner == owner)


LOCAL = Actor("local", Scope.ADMIN)
"""Everybody, on a service that listens on this machine alone and has no tokens."""


def new_token() -> str:
    """A fresh secret of 256 random bits; shown once, never stored."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is stored of a token. A plain hash is enough: 256 random bits cannot be guessed from it."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_well_formed(token: str) -> bool:
    """Whether a text can be a token at all."""
    return _FORM.fullmatch(token) is not None


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refuse_open_address(host: str, has_tokens: bool) -> None:
    """Refuse to serve other machines while anybody would be let in. Raises Forbidden."""
    if not (is_loopback(host) or has_tokens):
        raise Forbidden(
            f"{host} is reached from other machines, and no token exists: make one with `nfa token create NAME "
            "--scope admin`, or listen on 127.0.0.1"
        )


def lifetime(text: str) -> timedelta:
    """A number of hours, days or weeks: 12h, 90d, 52w.

    Raises:
        ValueError: it is none.
    """
    match = _LIFETIME.fullmatch(text)
    if match is None:
        raise ValueError("a lifetime is a number of hours, days or weeks, as 12h, 90d or 52w")
    return int(match.group(1)) * _UNITS[match.group(2)]
