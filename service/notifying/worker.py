"""The background worker: looks for what has become true, and sends what waits, until it is told to stop."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Final

import structlog

from service.errors import ServiceError
from service.notifying.addresses import Network, Refused
from service.notifying.secret import secret_of
from service.notifying.sending import Unsent, post
from service.notifying.signing import DELIVERY, EVENT, SIGNATURE, signature
from service.settings import Settings
from service.store import notifications
from service.store.session import Store

log = structlog.get_logger()

LOOK_SECONDS: Final = 3.0
_FORGET_SECONDS: Final = 3600.0


class Notifier:
    """Records and sends for one process; several at once send no message twice at a time.

    Args:
        store: where subscriptions and the outbox are.
        secret: answers what is sent is signed with; asked when there is something to send.
        allowed: networks that may be told although they are not public.
        address: of the service, for links.
    """

    def __init__(
        self, store: Store, secret: Callable[[], bytes], allowed: list[Network], address: str | None = None
    ) -> None:
        self._store, self._secret, self._allowed, self._address = store, secret, allowed, address
        self._forgot = float("-inf")

    def turn(self) -> int:
        """Record what is due and send all that waits; answers how many messages were tried."""
        notifications.record_due(self._store, self._address)
        tried = 0
        while (message := notifications.take(self._store)) is not None:
            self._send(message)
            tried += 1
        if time.monotonic() - self._forgot > _FORGET_SECONDS:
            notifications.forget_old(self._store)
            self._forgot = time.monotonic()
        return tried

    def _send(self, message: notifications.Message) -> None:
        now = int(time.time())
        try:
            secret = self._secret()
        except OSError as error:
            why = f"there is nothing to sign with, set NFA_NOTIFY_SECRET: {error}"
            notifications.unsent(self._store, message, why, is_final=False)
            log.exception("notification_unsigned", message=message.id)
            return
        body = json.dumps({**message.body, "attempt": message.attempts, "sent_at": now}, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "nfa-service",
            DELIVERY: message.id,
            EVENT: message.event,
            SIGNATURE: signature(secret, now, body),
        }
        try:
            post(message.url, body, headers, self._allowed)
        except (Refused, Unsent) as error:
            is_final = isinstance(error, Refused)
            log.warning("notification_unsent", message=message.id, attempt=message.attempts, reason=str(error))
            notifications.unsent(self._store, message, str(error), is_final=is_final)
        else:
            notifications.delivered(self._store, message)

    def run(self, wait: Callable[[float], bool]) -> None:
        """Turn after turn, until `wait` for so many seconds answers that it is over."""
        while not wait(LOOK_SECONDS):
            try:
                self.turn()
            except ServiceError as error:
                log.warning("notifications_wait", reason=error.detail)
            except Exception:
                # whatever it is, the next message is not to wait for a restart
                log.exception("notifications_failed")


@contextlib.contextmanager
def notifying(settings: Settings, store: Store) -> Generator[None]:
    """Tell in the background for as long as the block runs."""
    over = threading.Event()
    notifier = Notifier(store, partial(secret_of, settings), settings.allowed_networks, settings.public_url)
    thread = threading.Thread(target=notifier.run, args=(over.wait,), name="notifier", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        # one that is sending is taken again by the next process
        thread.join(1.0)
