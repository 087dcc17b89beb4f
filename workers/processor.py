"""Which processor trains here: equal numbers to the last bit are promised for like processors alone."""

import contextlib
import platform
import re
from pathlib import Path

_MODEL = re.compile(r"^model name[ \t]*:[ \t]*(\S.*)$", re.MULTILINE)
_LETTERS = 100


def processor_name() -> str:
    """Its model as the system tells it, such as `AMD EPYC 9R14`; where it tells none, the architecture."""
    told = ""
    with contextlib.suppress(OSError):
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return model_of(told, platform.machine())


def model_of(told: str, architecture: str) -> str:
    """The first processor of a /proc/cpuinfo. Pure."""
    found = _MODEL.search(told)
    return " ".join(found[1].split())[:_LETTERS] if found else architecture
