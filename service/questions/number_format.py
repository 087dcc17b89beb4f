"""How tables write numbers, in the terminal and on pages."""

from typing import Any


def number(value: Any) -> str:
    """A value in few characters; what is just below one as its distance from it, because that is what is read."""
    if value is None:
        return "-"
    if isinstance(value, float):
        if 0.9999 < value < 1:
            return f"1-{1 - value:.1e}"
        return f"{value:.6g}" if value == 0 or 1e-4 <= abs(value) < 1e7 else f"{value:.2e}"
    return str(value)


def counted(count: int, word: str) -> str:
    """A number of things, as in "1 stack" and "2 stacks"."""
    return f"{count} {word}{'' if count == 1 else 's'}"
