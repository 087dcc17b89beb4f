"""A grid that names some trials: what they share under `trial`, what differs as axes, or as one zip group. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

_MOST_AXES: Final = 8
_ABSENT: Final = object()


@dataclass(frozen=True)
class Selected:
    """A grid, and how many trials it has beside those that were named."""

    grid: dict[str, Any]
    beside: int
    """Seeds hold for every point of a grid: where points were named with different ones, each gets all."""


def grid_of(named: Sequence[tuple[Mapping[str, Any], int]], name: str) -> Selected:
    """The grid of these trials.

    Args:
        named: settings in canonical form, and seed, of each; at least one.
        name: of the grid.
    """
    points: dict[str, dict[str, Any]] = {}
    seeds: dict[str, set[int]] = {}
    for settings, seed in named:
        leaves = {
            f"{section}.{key}": _short(f"{section}.{key}", value)
            for section, block in settings.items()
            for key, value in block.items()
        }
        point = repr(sorted(leaves.items()))
        points.setdefault(point, leaves)
        seeds.setdefault(point, set()).add(seed)
    rows = list(points.values())
    paths = list(dict.fromkeys(path for leaves in rows for path in leaves))
    columns = {path: _filled([leaves.get(path, _ABSENT) for leaves in rows]) for path in paths}
    varying = {path: column for path, column in columns.items() if len(_different(column)) > 1}
    trial: dict[str, dict[str, Any]] = {}
    for path in paths:
        if path not in varying:
            section, _, key = path.partition(".")
            trial.setdefault(section, {})[key] = columns[path][0]
    grid: dict[str, Any] = {"name": name, "trial": trial}
    if varying:
        axes = _axes(varying)
        grid |= {"zip": [varying]} if axes is None else {"axes": axes}
    every = sorted(set().union(*seeds.values()))
    grid["seeds"] = len(every) if every == list(range(len(every))) else every
    return Selected(grid, len(rows) * len(every) - sum(map(len, seeds.values())))


def _axes(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]] | None:
    """Columns as axes, where their rows are all combinations of their values; else None."""
    values = {path: _different(column) for path, column in columns.items()}
    count = 1
    for some in values.values():
        count *= len(some)
    rows = list(zip(*columns.values(), strict=True))
    if len(values) > _MOST_AXES or count != len(rows):
        return None
    present = {repr(row) for row in rows}
    return values if all(repr(row) in present for row in product(*values.values())) else None


def _different(column: Sequence[Any]) -> list[Any]:
    return list({repr(value): value for value in column}.values())


def _filled(column: Sequence[Any]) -> list[Any]:
    """A column with a value everywhere: what some trials do not read makes no other trials of them."""
    given = next(value for value in column if value is not _ABSENT)
    return [given if value is _ABSENT else value for value in column]


def _short(path: str, value: Any) -> Any:
    """A width that all layers share as one number, which is how one writes it beside other depths."""
    is_shared = path == "network.width" and isinstance(value, list) and len({repr(one) for one in value}) == 1
    return value[0] if is_shared else value
