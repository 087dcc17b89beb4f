"""How this process's memory is handled: freed arrays are kept for the next ones.

A training step makes and drops the same arrays every time. The C library gives large ones back to the system at once
and fetches fresh, zeroed pages for the next: with 64 networks of width 64 that is more than half of a step's time.
"""

import contextlib
import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 1 << 30


def keep_freed_memory() -> None:
    """Keep up to a gigabyte of freed memory in the process; nothing where the C library has no such setting."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_MMAP_THRESHOLD, _LARGEST)
            library.mallopt(_TRIM_THRESHOLD, _LARGEST)
