"""A grid becomes trials: product of axes, zip groups and seeds, in written order, without duplicates. Pure.

Points are counted before they are built, and those that are dropped are not built. What points share is looked at
once (`building`) and all else a column at a time, so that 100,000 points cost 100,000 hashes, not as many validations.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from service.errors import InvalidGrid
from service.grid import canonical
from service.grid.axes import Factor, check_once, read_factors, read_point, set_paths
from service.grid.building import Build
from service.grid.data_shapes import Arrays
from service.grid.derived import Derived
from service.grid.exclusions import Exclusions
from service.grid.fitting import Limits
from service.grid.free_settings import free_beside
from service.grid.garbage import no_search_for_garbage
from service.grid.notify import read_notify
from service.grid.outline import Grid, check_count, check_lengths, read_grid, read_seeds, read_trial, too_many
from service.grid.partial import note_sections
from service.grid.points import Point
from service.grid.problems import Problems
from service.grid.product import Product
from service.grid.sampling import read_sample

DEFAULT_LIMITS: Final = Limits()
MAX_POINTS: Final = 100_000
"""Points of a grid: each has a digest, by which the store is asked for it."""
MAX_LOOKS: Final = 30_000
"""Sections that differ in more than free numbers, each of which is validated, and points of them, which are held
against the data."""


@dataclass(frozen=True)
class Expansion:
    """A valid grid, expanded."""

    grid: Grid
    points: tuple[Point, ...]
    seeds: tuple[int, ...]
    axes: Mapping[str, Sequence[Any]]
    """Varying path -> its values in order of appearance."""
    ignored: tuple[str, ...]
    """Paths that are set although no point reads them, and `exclude` entries that match nothing."""
    derived: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Path on no axis that follows from other settings -> its values in order of appearance."""

    def __len__(self) -> int:
        return len(self.points) * len(self.seeds)

    @cached_property
    def fingerprints(self) -> list[str]:
        """Of every trial, in order."""
        return [fingerprint for *_, fingerprint in self.trials()]

    def trials(self) -> Iterator[tuple[int, Point, int, str]]:
        """Every trial as (position, point, seed, fingerprint), seeds innermost."""
        positions = itertools.count()
        of_text = canonical.fingerprinter()
        for point in self.points:
            text = point.text
            for seed in self.seeds:
                yield next(positions), point, seed, of_text(text, seed)


def expand(
    document: Mapping[str, Any],
    limits: Limits = DEFAULT_LIMITS,
    datasets: Mapping[str, Arrays] | None = None,
    problems: Problems | None = None,
) -> Expansion:
    """Validate a grid and expand it.

    Args:
        document: the grid as plain values, as `parse_document` or `check_plain` left it.
        limits: how many trials, parameters and steps are allowed.
        datasets: id -> {array: shape} of every uploaded dataset that the grid may name.
        problems: what is known to be wrong with it already, to be told together with what is found here.
    Raises:
        InvalidGrid: with one entry per wrong field.
    """
    problems = Problems() if problems is None else problems
    grid = read_grid(document, problems)
    read_notify(grid.notify, problems)
    seeds = read_seeds(grid.seeds, limits, problems)
    check_lengths(grid, limits)
    blocks = read_trial(grid.trial, problems)
    factors = read_factors(grid.axes, grid.zip, problems)
    if (drawn := read_sample(grid.sample, problems)) is not None:
        factors.append(drawn)
        check_once(factors, problems)
    excluded = [read_point(entry, f"exclude[{index}]", problems) for index, entry in enumerate(grid.exclude)]
    included = [read_point(entry, f"include[{index}]", problems) for index, entry in enumerate(grid.include)]
    varied = [*(factor.paths for factor in factors), list(dict.fromkeys(path for one in included for path, *_ in one))]
    derived = Derived(blocks, factors, problems)
    excluded = [derived.constants(choice) for choice in excluded]
    if included:
        included = Derived(blocks, [Factor(included)], problems).resolved(included)
    blocks, factors = derived.without()
    if problems:
        note_sections(blocks, factors, included, problems)
    problems.raise_as(InvalidGrid)
    check_count(factors, len(included), bool(excluded), len(seeds), limits)
    exclusions = Exclusions(excluded)
    kept = ~exclusions.dropped(blocks, factors, problems, derived) if exclusions else None
    if kept is not None and (count := int(kept.sum())) > limits.trials_per_experiment:
        too_many(count * len(seeds), limits, problems)
        problems.raise_as(InvalidGrid)
    _check_points(math.prod(len(one.choices) for one in factors) if kept is None else count, len(included), problems)
    free = free_beside({*set_paths(blocks, factors, included), *derived.reads})
    product = Product(factors, included, derived, varied, kept, free, limits)
    problems.raise_as(InvalidGrid)
    _check_looks(product.looks(), problems)
    build = Build(blocks, limits, datasets or {}, len(seeds), problems)
    with no_search_for_garbage():
        points = dict(product.points(build))
    if not points:
        problems.add("exclude", "no point is left: every one is excluded")
        problems.raise_as(InvalidGrid)
    if len(points) * len(seeds) > limits.trials_per_experiment:
        too_many(len(points) * len(seeds), limits, problems)
    problems.raise_as(InvalidGrid)
    unused = tuple(f"exclude[{index}]" for index in sorted(exclusions.unused))
    return Expansion(
        grid, tuple(points.values()), seeds, product.axes(points), _ignored(build) + unused, product.derived(points)
    )


def _check_points(product: int, included: int, problems: Problems) -> None:
    """Refuse more points than can be told apart and looked for in the store in time, before any is built."""
    if product + included > MAX_POINTS:
        told = (
            f"{product + included} points are over the limit of {MAX_POINTS} for one experiment, whatever their seeds"
        )
        advice = "submit parts of the grid as experiments of their own, or more seeds of fewer points"
        problems.add("axes", f"{told}: {advice}", received=product + included, allowed=MAX_POINTS)
        problems.raise_as(InvalidGrid)


def _check_looks(looks: int, problems: Problems) -> None:
    """Refuse more points than can be looked at in time."""
    if looks > MAX_LOOKS:
        told = f"{looks} points and sections differ in settings that decide about others, over the limit of {MAX_LOOKS}"
        advice = "vary fewer sizes and kinds beside each other, or submit parts of the grid as experiments of their own"
        free = "numbers such as rates, decays, steps, scales, noise and seeds may vary freely"
        problems.add("axes", f"{told}: {advice}; {free}", received=looks, allowed=MAX_LOOKS)
        problems.raise_as(InvalidGrid)


def _ignored(build: Build) -> tuple[str, ...]:
    """Paths that the document sets and that none of the points reads."""
    read: dict[str, bool] = {}
    for section, form in build.forms:
        assert section.model is not None  # only valid sections have a form
        unread = canonical.unread(section.model, form, section.written)
        for key in section.written:
            path = f"{section.name}.{key}"
            read[path] = read.get(path, False) or key not in unread
    return tuple(path for path, is_read in read.items() if not is_read)
