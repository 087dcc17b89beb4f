"""Values of settings as they are compared."""

from collections.abc import Hashable
from typing import Any, Final

UNSAID: Final = object()
"""In the place of a value where none is given."""


def token(value: Any) -> Hashable:
    """Equal for settings that are the same: 0 is 0.0, but true is not 1; a mapping is the same as nothing else."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, list | tuple):
        return "list", tuple(token(one) for one in value)
    if value is None or isinstance(value, int | float | str):
        return "plain", value
    return object()
