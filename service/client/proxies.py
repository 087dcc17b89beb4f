"""Whether calls of a service go through a proxy, and through which. Pure.

This machine's own addresses are never reached through one: the proxy would look for the service on the proxy's machine.
Everything else follows the environment, as other programs read it: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in
upper case or, before it, in lower case.
"""

import ipaddress
import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

_LOCAL_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"})
SCHEMES: Final = ("http", "https", "socks5", "socks5h")


def is_this_machine(host: str) -> bool:
    """Whether a name or an address leads back to this machine whatever network it is on: loopback, or unspecified."""
    name = host.strip("[]").rstrip(".").lower()
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    found = _address(name)
    if found is None:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return mapped.is_loopback or mapped.is_unspecified


def proxy_for(url: str, proxies: Mapping[str, str]) -> str | None:
    """The proxy that leads to an address; None where it is reached directly.

    Args:
        url: of the service.
        proxies: scheme -> proxy, `all` for every scheme and `no` for what needs none: `urllib.request.getproxies()`.
    """
    asked = urlsplit(url)
    host = asked.hostname or ""
    proxy = proxies.get(asked.scheme) or proxies.get("all")
    if not proxy or is_this_machine(host) or _is_exempt(host, asked.port, proxies):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def without_password(proxy: str) -> str:
    """A proxy's address as it may be shown."""
    scheme, _, rest = proxy.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _is_exempt(host: str, port: int | None, proxies: Mapping[str, str]) -> bool:
    """Whether NO_PROXY names a host: by itself, by a suffix, with its port, or by a network it lies in."""
    name, found = host.rstrip(".").lower(), _address(host)
    for entry in (part.strip().lower() for part in proxies.get("no", "").split(",")):
        bare = entry.removeprefix("*").strip("[].")
        network = _network(bare)
        if found is not None and network is not None and found in network:
            return True
        if entry == "*" or (bare and f".{name}".endswith((f".{bare}", f".{bare.removesuffix(f':{port}')}"))):
            return True
    return False


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address as programs write it; IPv4 also in short forms (127.1, 2130706433), IPv6 without its zone."""
    try:
        return ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        pass
    # otherwise inet_aton takes words behind a blank
    if not name or not set(name) <= set("0123456789abcdefx."):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))
    except OSError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
