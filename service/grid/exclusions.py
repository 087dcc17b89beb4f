"""Which points a grid's `exclude` entries drop: looked up, so that a thousand entries cost about as much as one."""

import contextlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final

from service.errors import InvalidGrid
from service.grid.axes import Choice
from service.grid.setting_types import expanded

MAX_LISTED: Final = 1_000_000


class Exclusions:
    """The entries as sets: bit i of a set stands for entry i, which drops a point that matches all its keys.

    Args:
        entries: what each entry asks for, as assignments to paths.
    Raises:
        InvalidGrid: ranges among them stand for a million numbers.
    """

    def __init__(self, entries: Sequence[Choice]) -> None:
        self.unused = set(range(len(entries)))
        """Entries that matched no point yet; of several that match one, the first has done it."""
        self._all = (1 << len(entries)) - 1
        self._asking: dict[str, int] = {}
        self._asked: dict[str, dict[Hashable, int]] = {}
        made = 0
        for index, entry in enumerate(entries):
            bit = 1 << index
            wanted: dict[str, set[Hashable]] = {}
            for part in entry:
                value = _meant(part.value)
                made += len(value) if value is not part.value else 0
                if made > MAX_LISTED:
                    raise InvalidGrid(f"exclude: its ranges stand for more than {MAX_LISTED:,} numbers: write fewer")
                wanted.setdefault(part.path, set()).add(token(value))
            for path, tokens in wanted.items():
                self._asking[path] = self._asking.get(path, 0) | bit
                for one in tokens if len(tokens) == 1 else ():
                    of_path = self._asked.setdefault(path, {})
                    of_path[one] = of_path.get(one, 0) | bit

    def __bool__(self) -> bool:
        return self._all != 0

    def paths(self, section: str) -> list[str]:
        """Paths into a section that entries ask for."""
        return [path for path in self._asking if path.partition(".")[0] == section]

    def left_by(self, paths: Iterable[str], value: Callable[[str], Any]) -> int:
        """The set of entries that these paths' values do not speak against."""
        left = self._all
        for path in paths:
            left &= ~self._asking[path] | self._asked.get(path, {}).get(token(value(path)), 0)
        return left

    def drop(self, sets: Iterable[int]) -> bool:
        """Whether some entry is in all these sets: those that the sections of a point leave."""
        left = self._all
        for one in sets:
            left &= one
        if left:
            self.unused.discard((left & -left).bit_length() - 1)
        return left != 0


def _meant(value: Any) -> Any:
    """The list that a range stands for."""
    with contextlib.suppress(ValueError):
        return expanded(value)
    return value


def token(value: Any) -> Hashable:
    """Equal for settings that are the same: 0 is 0.0, but true is not 1; a mapping is the same as nothing else."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, list | tuple):
        return "list", tuple(token(one) for one in value)
    if value is None or isinstance(value, int | float | str):
        return "plain", value
    return object()
