"""What groups of trials hold beside seeds: which axes are pooled within them, and how many settings. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Range(NamedTuple):
    """The smallest and the largest of a number over groups."""

    low: int
    high: int

    def __str__(self) -> str:
        return str(self.high) if self.low == self.high else f"{self.low} to {self.high}"

    def counted(self, word: str) -> str:
        """With the word for what is counted, as in "3 to 10 seeds"."""
        return f"{self} {word}{'' if self.high == 1 or word.endswith('s') else 's'}"


@dataclass(frozen=True)
class Pooling:
    """What a group of trials stands for: seeds of one setting, or a mixture of settings."""

    over: tuple[str, ...]
    """Axes that vary within some group, without those that follow from another of them."""
    trials: Range
    settings: Range
    seeds: Range

    def says(self, counted: Range | None = None) -> str:
        """As words: "5 seeds", or "60 trials: 5 seeds x 12 settings; pooled over depth, activation".

        Args:
            counted: how many trials are behind a number, where fewer have it than there are.
        """
        trials = counted or self.trials
        if not self.over:
            return trials.counted("seed")
        is_product = all(trials[end] == self.seeds[end] * self.settings[end] for end in (0, 1))
        parts = (
            f"{self.seeds.counted('seed')} x {self.settings} settings"
            if is_product
            else f"{self.settings} settings, up to {self.seeds.high} seed{'' if self.seeds.high == 1 else 's'} of each"
        )
        return f"{trials.counted('trial')}: {parts}; pooled over {', '.join(short_names(self.over))}"


class Counted(NamedTuple):
    """A trial that enters a group: the key of its settings, and its seed."""

    settings: int
    seed: int


def pooling_of(
    groups: Sequence[Sequence[Counted]], axes: Sequence[str], values: Mapping[str, Mapping[int, str]]
) -> Pooling:
    """What groups of trials pool.

    Args:
        groups: their trials; empty ones say nothing.
        axes: paths that may vary within a group.
        values: path -> key of settings -> what they have there, as text that tells 1 from true.
    """
    kept = [group for group in groups if group]
    distinct = [sorted({one.settings for one in group}) for group in kept]
    mixed = [
        path for path in axes if any(len({values[path][key] for key in keys}) > 1 for keys in distinct if len(keys) > 1)
    ]
    over = list(mixed)
    for path in reversed(mixed):
        others = [other for other in over if other != path]
        if any(_follows(values[path], values[other], distinct) for other in others):
            over = others
    return Pooling(
        tuple(over),
        _range([len(group) for group in kept]),
        _range([len(keys) for keys in distinct]),
        _range([max(_by_settings(group)) for group in kept]),
    )


def short_names(paths: Sequence[str]) -> list[str]:
    """The last part of every path, or the whole of it where two would read the same."""
    last = [path.rpartition(".")[2] for path in paths]
    return [short if last.count(short) == 1 else path for short, path in zip(last, paths, strict=True)]


def _follows(path: Mapping[int, str], other: Mapping[int, str], groups: Sequence[Sequence[int]]) -> bool:
    """Whether in every group equal values of the other path stand beside equal values of this one."""
    for keys in groups:
        pairs = {(other[key], path[key]) for key in keys}
        if len(pairs) > len({first for first, _ in pairs}):
            return False
    return True


def _by_settings(group: Sequence[Counted]) -> list[int]:
    """How many seeds each of the settings has."""
    found: dict[int, int] = {}
    for one in group:
        found[one.settings] = found.get(one.settings, 0) + 1
    return list(found.values())


def _range(numbers: Sequence[Any]) -> Range:
    return Range(min(numbers, default=0), max(numbers, default=0))
