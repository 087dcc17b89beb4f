"""Widens a grid: more values on its axes, more seeds; what it had stays in its place."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from service.errors import InvalidGrid
from service.grid.axes import axis_values, read_factors
from service.grid.outline import FEWEST_SEEDS
from service.grid.problems import Problems
from service.grid.sections import value_at

STEPS: Final = "training.steps"


def redrawn(document: Mapping[str, Any], count: int) -> dict[str, Any]:
    """A grid's document with so many sampled points, the first of which are those it had.

    Raises:
        InvalidGrid: it samples none, or has as many.
    """
    sample, problems = document.get("sample"), Problems()
    if not sample:
        problems.add("sample", "this grid samples no points: extend its axes or seeds, or submit a grid with sample")
    elif count <= sample["count"]:
        told = f"this grid has {sample['count']} sampled points: give more"
        problems.add("sample", told, received=count, allowed=f"> {sample['count']}")
    problems.raise_as(InvalidGrid)
    return {**document, "sample": {**document["sample"], "count": count}}


def extended(document: Mapping[str, Any], axes: Mapping[str, Any], seeds: int | Sequence[int]) -> dict[str, Any]:
    """A grid's document with the union of its own and of further axis values and seeds, its own first.

    Args:
        document: the grid as it was submitted, which is valid.
        axes: path of one of its axes -> further values: a list, or {log: ..} or {linear: ..}. A path that is no axis
            yet becomes one, beginning with the value that the grid has had for it.
        seeds: further seeds; n stands for 0 .. n-1.
    Raises:
        InvalidGrid: with one entry per wrong field.
    """
    problems = Problems()
    own_axes = dict(document.get("axes") or {})
    read_factors(axes, [], problems)
    problems.raise_as(InvalidGrid)
    for path, written in axes.items():
        own = _own_values(document, path, problems)
        own_axes[path] = _union(own, list(axis_values(path, written)))
    widened = _more_seeds(document.get("seeds"), seeds, problems)
    problems.raise_as(InvalidGrid)
    return {**document, "axes": own_axes, "seeds": widened}


def lengthened(
    document: Mapping[str, Any], axes: Mapping[str, Any], seeds: int | Sequence[int], steps: int
) -> dict[str, Any]:
    """The same with a further value of `training.steps`, which has to be more than the grid has.

    Raises:
        InvalidGrid: with one entry per wrong field.
    """
    problems = Problems()
    if STEPS in axes:
        problems.add(f"axes.{STEPS}", "is given under steps as well: give one of them")
        problems.raise_as(InvalidGrid)
    own = _own_values(document, STEPS, problems)
    problems.raise_as(InvalidGrid)
    if not all(isinstance(value, int | float) for value in own):
        problems.add("steps", f"{STEPS} follows from other settings in this grid: submit one with other steps")
        problems.raise_as(InvalidGrid)
    longest = int(max(own))
    if steps <= longest:
        told = f"trials of this experiment have {longest} steps: give more, or submit a grid with fewer"
        problems.add("steps", told, received=steps)
        problems.raise_as(InvalidGrid)
    return extended(document, {**axes, STEPS: [steps]}, seeds)


def _more_seeds(own: Any, seeds: int | Sequence[int], problems: Problems) -> Any:
    """The seeds of a grid with further ones; of one that adds seeds by itself, the fewest of each point."""
    if not isinstance(own, Mapping):
        return _compact(_union(_listed(own), _listed(seeds)))
    if not isinstance(seeds, int):
        told = "this grid adds seeds to each point until an interval is narrow: give a number, at least so many of each"
        problems.add("seeds", told, received=list(seeds), allowed="a number")
        return own
    fewest = max(own.get("at_least") or FEWEST_SEEDS, seeds)
    most = own.get("at_most")
    return {**own, "at_least": fewest} | ({"at_most": max(most, fewest)} if most else {})


def _listed(seeds: int | Sequence[int] | None) -> list[int]:
    """Seeds as a list: n stands for 0 .. n-1, nothing for one seed."""
    if seeds is None:
        return [0]
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


def _compact(seeds: list[int]) -> int | list[int]:
    return len(seeds) if seeds == list(range(len(seeds))) else seeds


def _own_values(document: Mapping[str, Any], path: str, problems: Problems) -> list[Any]:
    """What the grid has on this path: its axis, or the one value under `trial`."""
    own_axes = document.get("axes") or {}
    if path in own_axes:
        return list(axis_values(path, own_axes[path]))
    zipped = [key for group in document.get("zip") or () for key in group]
    if path in zipped:
        problems.add(f"axes.{path}", "moves together with others in a zip group: submit the new points as a grid")
        return []
    if path in ((document.get("sample") or {}).get("ranges") or ()):
        problems.add(f"axes.{path}", "is sampled: draw more points with sample")
        return []
    section = path.partition(".")[0]
    if path == section:
        problems.add(f"axes.{path}", "is no axis of this grid: name one of its axes, or a single setting")
        return []
    return [value_at(None, (document.get("trial") or {}).get(section) or {}, section, path)]


def _union(own: list[Any], further: list[Any]) -> list[Any]:
    """Own values in their order, then those of the further ones that are new; 1 and 1.0 are the same, true is not."""
    found = {_key(value): value for value in reversed([*own, *further])}
    return [found[key] for key in dict.fromkeys(_key(value) for value in [*own, *further])]


def _key(value: Any) -> str:
    return repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)
