"""What checking a bundle finds."""

from dataclasses import dataclass
from typing import Final

TOLERANCE: Final = 1e-9
"""Of a number of 1 or more relative, of smaller ones absolute: on one kind of processor metrics agree to 1e-12."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    holds: bool
    says: str
