"""What a dispatcher holds: renewed all at once, and compared with the store where an answer was lost.

A lease whose answer never came would hold on for ever, since it is renewed with all the others: what the dispatcher
knows nothing of goes back to the queue.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from service.store import leases
from service.store.holders import Pair
from service.store.session import Store

COMPARED_SECONDS: Final = 60.0
"""What is held is compared with the store's this often in any case."""


class Holding:
    """The leases of one dispatcher.

    Args:
        store: where they are.
        identity: the dispatcher's.
        lease_seconds: how long leases hold unless renewed.
    """

    def __init__(self, store: Store, identity: str, lease_seconds: float) -> None:
        self._store, self._identity, self._lease_seconds = store, identity, lease_seconds
        self._compared = time.monotonic()
        self._in_doubt_until = -1e9

    def doubt(self) -> None:
        """A call was not answered, and may take effect yet: compare what is held until that cannot be any more."""
        self._in_doubt_until = time.monotonic() + 2 * self._lease_seconds

    def renew(self, held: Callable[[], Sequence[Pair]]) -> frozenset[Pair]:
        """Renew everything.

        Args:
            held: what the dispatcher believes to hold, asked for where it is compared.
        Returns:
            What is no longer its own, and must be dropped.
        """
        renewed = leases.renew_all(self._store, self._identity, self._lease_seconds)
        if not renewed.is_known:
            self.doubt()
        now = time.monotonic()
        if now >= self._in_doubt_until and now - self._compared < COMPARED_SECONDS:
            return renewed.taken
        gone = leases.reconcile(self._store, self._identity, held())
        self._compared = now
        return renewed.taken | gone
