"""Who holds which token, asked of the store every few seconds; and how often each address may present unknown ones."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from service.api.rates import Rates
from service.errors import TooMany
from service.store.session import Store
from service.store.tokens import find_actor
from service.tokens import Actor, digest, is_well_formed

REMEMBERED_SECONDS: Final = 5.0
"""For so long what the store said of a token is taken for true: a revoked one opens that much longer."""
_REMEMBERED: Final = 10_000


class SignIns:
    """What the store said of tokens lately; those that open something are kept apart from those that do not.

    Args:
        failures_per_minute: unknown tokens that one address may present; a sixth of that many at once.
        clock: seconds that only go forward.
    """

    def __init__(self, failures_per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._failures = clock, Rates(failures_per_minute / 60.0)
        self._holders: OrderedDict[str, tuple[float, Actor]] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()

    async def actor_of(
        self, store: Store, threads: CapacityLimiter, secret: str, peer: str, *, is_typed: bool = False
    ) -> Actor | None:
        """Who holds a secret; None where it opens nothing.

        Args:
            store: asked about a secret that was not heard of for five seconds.
            threads: that may ask the store, at most so many at a time.
            secret: as it was sent.
            peer: the address it came from.
            is_typed: by somebody who signs in: then a repeat of what opened nothing counts too.
        Raises:
            TooMany: the address has presented too many unknown ones; the store is not asked.
        """
        key, now = digest(secret), self._clock()
        held = self._holders.get(key)
        if held is not None and now - held[0] <= REMEMBERED_SECONDS:
            return held[1]
        known_wrong = (
            not is_well_formed(secret) or now - self._unknown.get(key, -REMEMBERED_SECONDS) < REMEMBERED_SECONDS
        )
        if known_wrong:
            if is_typed:
                self._refuse_if_too_many(peer, self._failures.wait_seconds(peer, now))
            return None
        async with threads:
            if held is None:  # a token that opened something before is looked up whoever else shares its address
                self._refuse_if_too_many(peer, self._failures.would_wait_seconds(peer, self._clock()))
            actor = await run_sync(find_actor, store.ahead(), secret, limiter=CapacityLimiter(1))
        if actor is None:
            self._holders.pop(key, None)
            self._failures.wait_seconds(peer, self._clock())
            _keep(self._unknown, key, self._clock())
        else:
            _keep(self._holders, key, (self._clock(), actor))
        return actor

    def _refuse_if_too_many(self, peer: str, wait_seconds: float) -> None:
        if wait_seconds > 0:
            error = TooMany(f"too many tokens that open nothing came from {peer}: wait {wait_seconds:.1f} s")
            error.retry_after_seconds = wait_seconds
            raise error


def peer_of(scope: Any) -> str:
    """The address that a request came from; of IPv6 the network that one customer has, since they choose the rest."""
    host = str((scope.get("client") or ("unknown",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def _keep(kept: OrderedDict[str, Any], key: str, value: Any) -> None:
    """Keep the last ones."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)
