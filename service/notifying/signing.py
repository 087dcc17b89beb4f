"""How what is sent is signed: HMAC-SHA256 over its time and body, so that neither can be changed. Pure."""

import hashlib
import hmac
from typing import Final

SIGNATURE: Final = "X-NFA-Signature"
DELIVERY: Final = "X-NFA-Delivery"
EVENT: Final = "X-NFA-Event"


def signature(secret: bytes, seconds: int, body: bytes) -> str:
    """The value of the header: `t=SECONDS,v1=HEX`.

    Args:
        secret: shared with who receives.
        seconds: since 1970, when it is sent; a receiver refuses what is old, which somebody may have kept.
        body: as it is sent.
    """
    digest = hmac.new(secret, f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"
