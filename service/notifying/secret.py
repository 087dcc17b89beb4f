"""What notifications are signed with: NFA_NOTIFY_SECRET, or a secret made once in the home."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from service.settings import Settings

FILE: Final = "notify_secret"


def secret_of(settings: Settings) -> bytes:
    """The secret as bytes; the file is made if it is missing, for its owner alone."""
    if settings.notify_secret is not None:
        return settings.notify_secret.get_secret_value().encode()
    file: Path = settings.home / FILE
    with contextlib.suppress(FileExistsError):
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as opened:
            opened.write(secrets.token_hex(32) + "\n")
    return file.read_text().strip().encode()
