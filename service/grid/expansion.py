"""A grid becomes trials: product of axes, zip groups and seeds, in written order, without duplicates. Pure.

Points are counted before they are built. Each section of a trial is validated once for all points that agree in it,
so that 100,000 points cost 100,000 hashes, not 100,000 validations.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from service.errors import InvalidGrid
from service.grid import canonical
from service.grid.axes import SECTIONS, Assignment, Choice, Factor, read_factors, read_point
from service.grid.canonical import Settings
from service.grid.data_shapes import Arrays, DataShape, Misfit, data_shape
from service.grid.exclusions import Exclusions, token
from service.grid.fitting import Limits, misfits
from service.grid.outline import Grid, check_count, check_lengths, read_grid, read_seeds, read_trial, too_many
from service.grid.partial import note_sections
from service.grid.problems import Problems
from service.grid.sections import SectionValue, merge_section, origin_of, validate_section
from service.grid.setting_types import Section
from service.grid.stacking import stack_key
from service.grid.trial_settings import TrialSettings

MAX_LISTED: Final = 2_000_000
"""Numbers in the lists of all sections of a grid together: a range is short to write and long to keep."""

DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the grid, without its seeds."""

    settings: Settings
    digest: str
    stack_key: str
    axes: Mapping[str, Any]
    """The value of every varying path, typed, as the user would write it."""
    shape: DataShape
    layers: tuple[str, ...] = ()
    """Names of its network's layers, in the order of their numbers; none where they have numbers alone."""
    device: str = "auto"
    """Where to train; no part of the settings."""


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

    def __len__(self) -> int:
        return len(self.points) * len(self.seeds)

    def trials(self) -> Iterator[tuple[int, Point, int, str]]:
        """Every trial as (position, point, seed, fingerprint), seeds innermost."""
        positions = itertools.count()
        for point in self.points:
            prints = canonical.fingerprints(point.settings, self.seeds)
            for seed, fingerprint in zip(self.seeds, prints, strict=True):
                yield next(positions), point, seed, fingerprint


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
    seeds = read_seeds(grid.seeds, limits, problems)
    check_lengths(grid, limits)
    blocks = read_trial(grid.trial, problems)
    factors = read_factors(grid.axes, grid.zip, problems)
    excluded = [read_point(entry, f"exclude[{index}]", problems) for index, entry in enumerate(grid.exclude)]
    included = [read_point(entry, f"include[{index}]", problems) for index, entry in enumerate(grid.include)]
    if problems:
        note_sections(blocks, factors, included, problems)
    problems.raise_as(InvalidGrid)
    check_count(factors, len(included), bool(excluded), len(seeds), limits)
    build = _Build(blocks, Exclusions(excluded), limits, datasets or {}, problems)
    points = _build_points(build, factors, included)
    if len(points) * len(seeds) > limits.trials_per_experiment:
        too_many(len(points) * len(seeds), limits, problems)
    problems.raise_as(InvalidGrid)
    axes = _axes(points, _varying_paths(factors, included))
    unused = tuple(f"exclude[{index}]" for index in sorted(build.excluded.unused))
    return Expansion(grid, points, seeds, axes, _ignored(build) + unused)


@dataclass
class _Build:
    """Builds points, remembering every section it has validated."""

    blocks: Mapping[str, Mapping[str, Any]]
    excluded: Exclusions
    limits: Limits
    datasets: Mapping[str, Arrays]
    problems: Problems
    sections: dict[Any, SectionValue] = field(default_factory=dict)
    valid: dict[Any, SectionValue] = field(default_factory=dict)
    """The same by what is assigned: values that are given twice are looked at once."""
    forms: dict[Any, tuple[SectionValue, dict[str, Any]]] = field(default_factory=dict)
    left: dict[Any, int] = field(default_factory=dict)
    listed: int = 0
    """Numbers in the lists of the sections so far."""

    def section(self, name: str, key: Any, assignments: Sequence[Assignment]) -> SectionValue:
        """The section of a point; `key` identifies the choices that it depends on."""
        found = self.sections.get((name, key))
        if found is None:
            written = name, tuple((part.path, token(part.value)) for part in assignments)
            found = self.valid.get(written)
            if found is None:
                merged, origins = merge_section(self.blocks[name], assignments)
                found = validate_section(name, merged, origins, self.problems)
                if found.model is not None:
                    self.valid[written] = found
                    self._count_listed(found.model, name)
            self.sections[name, key] = found
        return found

    def _count_listed(self, model: Section, name: str) -> None:
        self.listed += sum(len(part) for _, part in model if type(part) is list)
        if self.listed > MAX_LISTED:
            told = f"the lists of numbers of all points together hold more than {MAX_LISTED:,}"
            self.problems.add(f"trial.{name}", f"{told}: take fewer points, or shorter lists")
            self.problems.raise_as(InvalidGrid)

    def left_by(self, name: str, key: Any, section: SectionValue) -> int:
        """The set of `exclude` entries that a section does not speak against; `key` as for `section`."""
        found = self.left.get((name, key))
        if found is None:
            found = self.left[name, key] = self.excluded.left_by(self.excluded.paths(name), section.value)
        return found

    def form(self, section: SectionValue, around: canonical.Around) -> dict[str, Any]:
        """Canonical form of a section, shared by all points that have it."""
        assert section.model is not None
        key = (id(section), around if section.name in ("training", "measure") else None)
        found = self.forms.get(key)
        if found is None:
            found = self.forms[key] = section, canonical.canonical_section(section.model, around)
        return found[1]

    def point(self, sections: Mapping[str, SectionValue], paths: Sequence[str]) -> Point | None:
        """The point of five valid sections; None after noting what does not fit."""
        models = {name: section.model for name, section in sections.items()}
        if None in models.values():
            return None
        settings = TrialSettings.model_construct(None, **models)
        shape = data_shape(settings.data, self.datasets)
        fits = not isinstance(shape, Misfit)
        wrong = list(misfits(settings, shape, self.limits, self.datasets)) if fits else [shape]
        for path, message in wrong:
            section = sections[_head(path)]
            self.problems.add(origin_of(path, section.origins), message, received=section.value(path))
        if wrong or isinstance(shape, Misfit):
            return None
        around = canonical.surroundings(settings, shape)
        form = {name: self.form(section, around) for name, section in sections.items()}
        axes = {path: sections[_head(path)].value(path) for path in paths}
        layers, device = around.layers.names, settings.training.device
        return Point(form, canonical.settings_digest(form), stack_key(form), axes, shape, layers, device)


def _build_points(build: _Build, factors: Sequence[Factor], included: Sequence[Choice]) -> tuple[Point, ...]:
    """The points of the product and then the included ones, each digest once, at its first place."""
    paths = _varying_paths(factors, included)
    points: dict[str, Point] = {}
    seen: set[tuple[int, ...]] = set()
    for sections in _section_sets(build, factors, included):
        same = tuple(map(id, sections.values()))
        if same in seen:
            continue
        seen.add(same)
        point = build.point(sections, paths)
        if point is not None:
            points.setdefault(point.digest, point)
        if build.problems.full:
            break
    build.problems.raise_as(InvalidGrid)
    if not points:
        build.problems.add("exclude", "no point is left: every one is excluded")
    return tuple(points.values())


def _section_sets(
    build: _Build, factors: Sequence[Factor], included: Sequence[Choice]
) -> Iterator[dict[str, SectionValue]]:
    """The five sections of every point that is not excluded: the product first, then what is included."""
    touching = {
        name: [index for index, factor in enumerate(factors) if any(_head(path) == name for path in factor.paths)]
        for name in SECTIONS
    }
    choices = [[_by_section(choice) for choice in factor.choices] for factor in factors]
    fixed = {name: build.section(name, (), ()) for name, touched in touching.items() if not touched}
    left_by_fixed = [build.left_by(name, (), section) for name, section in fixed.items()]
    varied = [(name, touched) for name, touched in touching.items() if touched]
    for indices in itertools.product(*(range(len(factor.choices)) for factor in factors)):
        sections, left = dict(fixed), list(left_by_fixed)
        for name, touched in varied:
            key = tuple([indices[index] for index in touched])
            parts = [part for index in touched for part in choices[index][indices[index]][name]]
            sections[name] = build.section(name, key, parts)
            if build.excluded:
                left.append(build.left_by(name, key, sections[name]))
        if not (build.excluded and build.excluded.drop(left)):
            yield sections
    for number, choice in enumerate(included):
        yield {name: build.section(name, ("include", number), own) for name, own in _by_section(choice).items()}


def _by_section(choice: Choice) -> dict[str, list[Assignment]]:
    return {name: [part for part in choice if _head(part.path) == name] for name in SECTIONS}


def _varying_paths(factors: Sequence[Factor], included: Sequence[Choice]) -> list[str]:
    """Every path that an axis, a zip group or an included point sets, in written order."""
    paths = [path for factor in factors for path in factor.paths]
    paths += [part.path for choice in included for part in choice]
    return list(dict.fromkeys(paths))


def _axes(points: Sequence[Point], paths: Sequence[str]) -> dict[str, list[Any]]:
    """Values of each varying path in order of appearance."""
    found: dict[str, dict[str, Any]] = {path: {} for path in paths}
    for point in points:
        for path, values in found.items():
            value = point.axes[path]
            values.setdefault(repr(value), value)
    return {path: list(values.values()) for path, values in found.items()}


def _ignored(build: _Build) -> tuple[str, ...]:
    """Paths that the document sets and that none of the points reads."""
    read: dict[str, bool] = {}
    for section, form in build.forms.values():
        assert section.model is not None
        unread = canonical.unread(section.model, form, section.written)
        for key in section.written:
            path = f"{section.name}.{key}"
            read[path] = read.get(path, False) or key not in unread
    return tuple(path for path, is_read in read.items() if not is_read)


def _head(path: str) -> str:
    return path.partition(".")[0]
