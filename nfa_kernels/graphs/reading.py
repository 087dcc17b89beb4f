"""Reading the settings of one layer: every wrong key, type or size is refused with the layer's path."""

import difflib
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from nfa_kernels.graphs.errors import GraphError

MAX_SIZE = 1 << 20
"""Of units, channels, kernels and the like."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def shown(value: object) -> str:
    """A received value, short enough for a message; nothing nested is written out."""
    if isinstance(value, list | tuple | dict):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a whole number of {value.bit_length()} bits"
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def meant(value: object, allowed: Collection[str]) -> str:
    """The allowed word that is most like a received one, as the end of a message; empty if none is like it."""
    near = difflib.get_close_matches(value[:64].lower(), allowed, n=1) if isinstance(value, str) else []
    return f"; did you mean {near[0]}?" if near else ""


class Settings:
    """Settings of one layer, each read by its name."""

    def __init__(self, path: str, given: object, allowed: Collection[str], short: str = "") -> None:
        """A mapping of settings, or the value of the setting `short` alone; None for no settings.

        Raises:
            GraphError: neither, or a setting that is not allowed.
        """
        self.path = path
        self.given = self._mapping(given, short, allowed)
        unknown = [key for key in self.given if key not in allowed]
        if unknown:
            told = f"received the setting {shown(unknown[0])}, allowed are {', '.join(allowed)}"
            raise GraphError(path, told + meant(unknown[0], allowed))

    def _mapping(self, given: object, short: str, allowed: Collection[str]) -> Mapping[str, Any]:
        if given is None:
            return {}
        if isinstance(given, Mapping):
            return given
        if short and not isinstance(given, list | tuple):
            return {short: given}
        raise GraphError(self.path, f"received {shown(given)}, needed are settings by name: {', '.join(allowed)}")

    def whole(self, name: str, default: int | None = None, most: int = MAX_SIZE) -> int:
        """A whole number from 1 to `most`."""
        value = self.given.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            needed = f"a whole number 1..{most}"
            told = f"{name} is missing, needed is {needed}" if value is None else f"{name} is {shown(value)}"
            raise GraphError(self.path, told if value is None else f"{told}, allowed is {needed}")
        return value

    def number(self, name: str, default: float) -> float:
        """A finite number >= 0."""
        value = self.given.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise GraphError(self.path, f"{name} is {shown(value)}, allowed are finite numbers >= 0")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.given.get(name, default)
        if not isinstance(value, bool):
            raise GraphError(self.path, f"{name} is {shown(value)}, allowed are true and false")
        return value

    def one_of(self, name: str, allowed: Collection[str], default: str | None = None) -> str:
        """A word out of several."""
        value = self.given.get(name, default)
        if not isinstance(value, str) or value not in allowed:
            told = f"{name} is missing, needed" if value is None else f"{name} is {shown(value)}, allowed"
            raise GraphError(self.path, f"{told} is one of {', '.join(allowed)}{meant(value, allowed)}")
        return value

    def name(self) -> str | None:
        """The layer's own name, if it has one."""
        value = self.given.get("name")
        if value is None:
            return None
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            needed = "a letter, then up to 63 letters, digits and underscores"
            raise GraphError(self.path, f"name is {shown(value)}, allowed is {needed}")
        return value
