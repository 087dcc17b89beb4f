"""What a browser asked for, where a reverse proxy stands in between: which scheme, name and path, and for whom.

A proxy says so in X-Forwarded headers, which count where they come from an address that NFA_FORWARDED_ALLOW_IPS names;
NFA_PUBLIC_URL says it once and for all. Everything behind this middleware sees its own paths, whatever prefix the proxy
puts in front of them, and answers with Locations that are right there.
"""

import contextlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import Settings

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~@:%+-]+)+")
_OWN: Final = frozenset({"api", "docs", "experiments", "openapi.json", "static", "trials"})
"""First parts of our own paths: a prefix that begins with one is taken for stripped."""
_NAMES_PREFIX: Final = frozenset({"/docs", "/openapi.json"})
"""Pages that FastAPI writes, and whose addresses it takes from root_path."""


@dataclass(frozen=True)
class Asked:
    """What a request asked for, as far as is known."""

    scheme: str
    hosts: tuple[str, ...]
    """Under which names: as it came here, then as a trusted proxy or the settings say. Each may have a port."""
    prefix: str
    """Under which our own paths lie, such as /nfa; empty at the top."""
    client: str | None
    """Address of whoever asked."""
    distrusted: str = ""
    """Address of a proxy whose words did not count."""

    def is_own(self, origin: str) -> bool:
        """Whether a page of this origin is one of ours: of the same name and port, on either scheme."""
        try:
            page = urlsplit(origin.strip().lower())
            wanted = page.hostname, page.port or _DEFAULT_PORTS.get(page.scheme)
        except ValueError:
            return False
        return bool(page.hostname) and any(wanted in _meant(host) for host in self.hosts)


class Trusted:
    """Addresses of proxies that are believed.

    Args:
        names: addresses and networks with commas between, or * for all.
    Raises:
        ValueError: one is neither.
    """

    def __init__(self, names: str) -> None:
        words = [word.strip() for word in names.split(",") if word.strip()]
        self._all = "*" in words
        self._networks = [ipaddress.ip_network(word, strict=False) for word in words if word != "*"]

    def __contains__(self, address: str | None) -> bool:
        if self._all:
            return True
        try:
            found = ipaddress.ip_address((address or "").partition("%")[0])
        except ValueError:
            return False
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in self._networks)


def asked_for(
    scheme: str, peer: str | None, headers: Mapping[str, str], trusted: Trusted, public: SplitResult | None = None
) -> Asked:
    """What a request asked for. Pure.

    Args:
        scheme: by which it came here.
        peer: address that it came from.
        headers: its headers, names in lower case.
        trusted: proxies whose headers count.
        public: NFA_PUBLIC_URL, which goes before all headers.
    """
    hosts, prefix, client = [headers.get("host", "")], "", peer
    said = {name: headers.get(f"x-forwarded-{name}", "") for name in ("host", "proto", "port", "prefix", "for")}
    is_forwarded = any(said.values())
    if is_forwarded and peer in trusted:
        first = {name: value.partition(",")[0].strip() for name, value in said.items()}
        hosts += [first["host"]] if first["host"] else []
        # those who say the port apart say the name without it
        hosts += [f"{host}:{first['port']}" for host in hosts if first["port"].isdecimal() and _has_no_port(host)]
        scheme = first["proto"].lower() if first["proto"].lower() in _DEFAULT_PORTS else scheme
        prefix = prefix_of(first["prefix"])
        client = _beyond(said["for"].split(","), trusted) or peer
    if public is not None:
        scheme, prefix = public.scheme, prefix_of(public.path)
        hosts.append(public.netloc)
    distrusted = peer or "" if is_forwarded and peer not in trusted else ""
    return Asked(scheme, tuple(dict.fromkeys(hosts)), prefix, client, distrusted)


def prefix_of(text: str) -> str:
    """A path prefix as it goes before our paths: with a slash in front, none behind; empty for what is none."""
    found = f"/{text.strip().strip('/')}"
    return found if _PREFIX.fullmatch(found) and ".." not in found.split("/") else ""


def own_path(path: str, prefix: str) -> str:
    """Our own path of one that a proxy may have passed on with its prefix or without."""
    is_ours_too = prefix.split("/")[1:2] and prefix.split("/")[1] in _OWN
    if prefix and not is_ours_too and (path == prefix or path.startswith(f"{prefix}/")):
        return path.removeprefix(prefix) or "/"
    return path


def to_root(path: str) -> str:
    """From one of our own paths to the top of them, as a relative address: right under whatever prefix."""
    return "../" * (path.count("/") - 1) or "./"


class Forwarding:
    """ASGI middleware: notes what was `asked` for in the request's state, and speaks the language of whoever asked."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._trusted = Trusted(settings.forwarded_allow_ips)
        self._public = urlsplit(settings.public_url) if settings.public_url else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request for one of our own paths."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        peer = scope["client"][0] if scope.get("client") else None
        asked = asked_for(scope["scheme"], peer, headers, self._trusted, self._public)
        path = own_path(scope["path"], asked.prefix)
        raw = own_path(scope.get("raw_path", b"").decode("latin-1") or path, asked.prefix)
        changed = {"scheme": asked.scheme, "path": path, "raw_path": raw.encode("latin-1")}
        changed["root_path"] = asked.prefix if path in _NAMES_PREFIX else ""
        if asked.client != peer:
            changed["client"] = (asked.client, 0)
        # in place, since what answers a defect stands outside of this
        scope.update(changed)
        scope.setdefault("state", {})["asked"] = asked

        async def located(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [_located(pair, asked, raw) for pair in message["headers"]]}
            await send(message)

        await self.app(scope, receive, located)


def _located(header: tuple[bytes, bytes], asked: Asked, path: str) -> tuple[bytes, bytes]:
    """A header of an answer to a request for `path`; its Location is one that leads there from outside."""
    name, value = header
    if name.lower() != b"location":
        return header
    text, here = value.decode("latin-1"), f"{asked.scheme}://{asked.hosts[0]}/"
    if text.startswith(here):
        text = to_root(path) + text.removeprefix(here)
    elif text.startswith("/") and not text.startswith("//"):
        text = asked.prefix + text
    return name, text.encode("latin-1")


def _beyond(addresses: Iterable[str], trusted: Trusted) -> str | None:
    """Who stands behind the proxies that are believed: the last address that is not one of them.

    Where all are, the last one, which the nearest proxy saw: those before it anybody may have written.
    """
    found = [address for address in map(_plain, addresses) if address]
    return next((address for address in reversed(found) if address not in trusted), found[-1] if found else None)


def _plain(text: str) -> str | None:
    """An address without the port that some proxies add, another one each time; None for anything else."""
    match = re.fullmatch(r'"?(?:\[(.+)\]|([^:]+))(?::\d+)?"?|(.*)', text.strip())
    for word in match.groups() if match else ():
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(word or ""))
    return None


def _has_no_port(host: str) -> bool:
    return bool(host) and not re.search(r":\d+$", host)


def _meant(host: str) -> set[tuple[str | None, int | None]]:
    """Names and ports that a Host may stand for: without a port it is the usual one of either scheme."""
    try:
        parts = urlsplit(f"//{host.strip().lower()}")
        ports = {parts.port} if parts.port else set(_DEFAULT_PORTS.values())
    except ValueError:
        return set()
    return {(parts.hostname, port) for port in ports}
