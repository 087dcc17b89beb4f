"""How much an upload may hold, and how its refusals are worded."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from service.errors import TooLarge

MAX_NUMBERS: Final = 8 * 2**20
MAX_ARRAYS: Final = 256
MAX_COLUMNS: Final = 16_384
"""Of a table, those that are left out included."""
MAX_NAME: Final = 64
_SHOWN: Final = 8


def check_numbers(shapes: Mapping[str, Sequence[int]], max_numbers: int) -> None:
    """Refuse arrays that hold too many numbers together, saying how many of their rows would fit. Raises TooLarge."""
    numbers = sum(_product(shape) for shape in shapes.values())
    if numbers <= max_numbers:
        return
    told = listed(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    rows = max((shape[0] for shape in shapes.values() if shape), default=0)
    fit = rows * max_numbers // numbers
    advice = f"about {max_numbers / numbers:.2g} of it fits, {fit:,} of {rows:,} rows: upload a share of them"
    raise TooLarge(
        f"{told}: {numbers:,} numbers are over the limit of {max_numbers:,} (NFA_MAX_UPLOAD_NUMBERS); "
        + (advice if fit else "not a single row fits: take fewer columns")
    )


def check_count(count: int, limit: int, what: str) -> None:
    """Refuse a file of too many arrays or columns. Raises TooLarge."""
    if count > limit:
        raise TooLarge(f"the file has {count:,} {what}, over the limit of {limit:,}")


def listed(names: Iterable[str], most: int = _SHOWN) -> str:
    """Names for a message: the first ones, each cut to a readable length, and how many more there are."""
    found = [shown(name) for name in names]
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def shown(name: str) -> str:
    """A name as a message may hold it."""
    text = name[: MAX_NAME + 1].encode("ascii", "backslashreplace").decode()
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return text if len(name) <= MAX_NAME else text[:MAX_NAME] + ".."


def _product(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
