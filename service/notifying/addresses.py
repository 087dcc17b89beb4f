"""Which addresses may be told: public ones, and networks that the operator names.

A name is resolved once and the connection goes to that address: a name that answers otherwise the second time reaches
nothing else.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[..., Sequence[Any]]
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class Refused(Exception):
    """An address that is not told, and never will be under these settings."""


def resolved(host: str, port: int, allowed: Sequence[Network], resolve: Resolve = socket.getaddrinfo) -> Address:
    """The address to connect to.

    Args:
        host: name, or address without brackets.
        port: of it.
        allowed: networks that may be told although they are not public.
        resolve: asks for the addresses of a name.
    Raises:
        Refused: one of its addresses may not be told.
        OSError: the name has none.
    """
    found = [
        ipaddress.ip_address(entry[4][0].partition("%")[0]) for entry in resolve(host, port, 0, socket.SOCK_STREAM)
    ]
    if not found:
        raise OSError(f"{host} has no address")
    for address in found:
        if not is_allowed(address, allowed):
            raise Refused(
                f"{host} is {address}, which is not public: an operator may allow its network by NFA_NOTIFY_NETWORKS"
            )
    return found[0]


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether an address is public, or in a network that is allowed; one that stands for another is judged as that."""
    inner = _inner(address)
    if any(inner.version == network.version and inner in network for network in allowed):
        return True
    return inner.is_global and not inner.is_multicast and not inner.is_reserved


def _inner(address: Address) -> Address:
    """The IPv4 address inside of one that carries it: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
