"""One POST to one address: no redirects, no proxies, no waiting longer than a deadline."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from service.notifying.addresses import Network, Refused, resolved

CONNECT_SECONDS: Final = 5.0
DEADLINE_SECONDS: Final = 15.0
"""For the whole exchange: a receiver that answers a byte at a time keeps nobody waiting."""
_GONE: Final = 410


class Unsent(Exception):
    """It did not arrive, or the receiver did not take it."""


def post(url: str, body: bytes, headers: Mapping[str, str], allowed: Sequence[Network]) -> None:
    """Send, and return once the receiver has answered with 2xx.

    Raises:
        Refused: this address is never told, or says that it is gone.
        Unsent: anything else; trying again may help.
    """
    parts = urlsplit(url)
    host, is_secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    try:
        address = str(resolved(host, port, allowed))
        status = _exchange(host, address, port, parts, body, headers, is_secure=is_secure)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unsent(f"{type(error).__name__}: {error}"[:300]) from error
    if status == _GONE:
        raise Refused("the receiver answered 410: it wants no more")
    if 300 <= status < 400:
        raise Unsent(f"the receiver answered {status}: redirects are not followed, give the address it leads to")
    if not 200 <= status < 300:
        raise Unsent(f"the receiver answered {status}")


def _exchange(
    host: str, address: str, port: int, parts: SplitResult, body: bytes, headers: Mapping[str, str], *, is_secure: bool
) -> int:
    """The status that the receiver answers with; its body is not read."""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection((address, port), CONNECT_SECONDS))
        timer = threading.Timer(DEADLINE_SECONDS, _end, [plain])
        timer.daemon = True
        timer.start()
        stack.callback(timer.cancel)
        talk = plain
        if is_secure:
            # the certificate is that of the name, whatever address it has
            talk = stack.enter_context(ssl.create_default_context().wrap_socket(plain, server_hostname=host))
        connection = http.client.HTTPConnection(host, port)
        connection.sock = talk
        named = f"[{host}]" if ":" in host else host
        own = {"Host": named if port in (80, 443) else f"{named}:{port}", "Connection": "close"}
        connection.request("POST", path, body, {**own, **headers})
        return connection.getresponse().status


def _end(plain: socket.socket) -> None:
    """Let every wait on a connection end at once."""
    with contextlib.suppress(OSError):
        plain.shutdown(socket.SHUT_RDWR)
