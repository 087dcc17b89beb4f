"""What notifications are signed with: NFA_NOTIFY_SECRET, or a secret made once in the home."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from service.settings import Settings

FILE: Final = "notify_secret"


def secret_of(settings: Settings) -> bytes:
    """The secret as bytes; a file that is missing is made, for its owner alone. Raises OSError."""
    if settings.notify_secret is not None:
        return settings.notify_secret.get_secret_value().encode()
    file: Path = settings.home / FILE
    if not file.exists():
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, made = tempfile.mkstemp(dir=settings.home, prefix=f".{FILE}-")
        with os.fdopen(descriptor, "w") as opened:
            opened.write(secrets.token_hex(32) + "\n")
        # whole as soon as it is there; of two processes that make one, both read the first
        with contextlib.suppress(FileExistsError):
            os.link(made, file)
        os.unlink(made)
    return file.read_text().strip().encode()
