"""What a grid varies: axes, zip groups and included points, as choices of assignments to dotted paths."""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from types import UnionType
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin, overload

from service.grid.network_settings import NetworkSettings
from service.grid.problems import NOTHING, Problems
from service.grid.setting_types import Section, spaced, whole_numbers
from service.grid.trial_settings import (
    LAYER_KEY,
    DataSettings,
    InitSettings,
    LayerSettings,
    MeasureSettings,
    StopSettings,
    TrainingSettings,
)

SECTIONS: Final[dict[str, type[Section]]] = {
    "data": DataSettings,
    "network": NetworkSettings,
    "init": InitSettings,
    "training": TrainingSettings,
    "measure": MeasureSettings,
}
FIELDS: Final = {section: tuple(model.model_fields) for section, model in SECTIONS.items()}
PATHS: Final = (
    *(f"{section}.{field}" for section, fields in FIELDS.items() for field in fields),
    *(f"training.stop.{field}" for field in StopSettings.model_fields),
    *FIELDS,
)
"""Every dotted path into the settings of a trial but those of layers; a section's own name is one too."""

MAPPINGS: Final = frozenset({*FIELDS, "training.stop", "training.layers"})
"""Paths whose value may be a mapping, which is merged; one of a layer too."""

KEYED: Final = frozenset({"training.stop.plateau"})
"""Paths whose value is a mapping that is not merged, with keys of its own."""

_OF_A_LAYER: Final = re.compile(rf"training\.layers\.(?:{LAYER_KEY.pattern})(?:\.(?P<field>\w+))?")


def is_path(path: str) -> bool:
    """Whether a dotted path leads into the settings of a trial."""
    found = _OF_A_LAYER.fullmatch(path)
    return path in PATHS or (found is not None and found["field"] in (None, *LayerSettings.model_fields))


def is_mapping(path: str) -> bool:
    """Whether the value at a path may be a mapping, which is merged."""
    found = _OF_A_LAYER.fullmatch(path)
    return path in MAPPINGS or (found is not None and found["field"] is None)


def fields_below(path: str) -> tuple[str, ...]:
    """Keys of a mapping that is merged; none of `training.layers`, whose keys are layers."""
    if path == "training.stop":
        return tuple(StopSettings.model_fields)
    if path == "training.layers":
        return ()
    return FIELDS[path] if path in FIELDS else tuple(LayerSettings.model_fields)


class Assignment(NamedTuple):
    """One setting of a varying path, with the place in the document that it came from."""

    path: str
    value: Any
    origin: str


Choice = tuple[Assignment, ...]


class Table(Sequence[Choice]):
    """Choices that all set the same paths, each made when it is asked for: a column of values for every path.

    Args:
        columns: path -> a value for each choice.
        origins: path -> the list in the document that its values came from, and what leads to them in its items.
        length: how many choices, where no column says it.
    """

    def __init__(
        self, columns: Mapping[str, Sequence[Any]], origins: Mapping[str, tuple[str, str]], length: int = 0
    ) -> None:
        self.columns, self._origins = columns, origins
        self._length = len(next(iter(columns.values()))) if columns else length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Choice: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Choice]: ...
    def __getitem__(self, index: int | slice) -> Choice | Sequence[Choice]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        at = index % self._length
        return tuple([Assignment(path, values[at], self.origin(path, at)) for path, values in self.columns.items()])

    def without(self, paths: Container[str]) -> "Table":
        """As many choices, which do not set these paths."""
        left = {path: values for path, values in self.columns.items() if path not in paths}
        return Table(left, self._origins, self._length)

    def origin(self, path: str, index: int) -> str:
        """The place in the document of the value of a choice."""
        before, after = self._origins[path]
        return f"{before}[{index}]{after}"

    @property
    def origins(self) -> Mapping[str, tuple[str, str]]:
        """What is told at each path before and after the number of a choice."""
        return self._origins


@dataclass(frozen=True)
class Factor:
    """An axis or a zip group: the choices that one index of the product runs over."""

    choices: Sequence[Choice]

    @cached_property
    def paths(self) -> list[str]:
        """Every path that some choice sets, in written order."""
        if isinstance(self.choices, Table):
            return list(self.choices.columns)
        return list(dict.fromkeys(part.path for choice in self.choices for part in choice))


def set_paths(
    blocks: Mapping[str, Mapping[str, Any]], factors: Sequence[Factor], included: Sequence[Choice]
) -> set[str]:
    """Every path that a grid sets: fields of the trial block, and what axes, zip groups and included points assign."""
    found = {f"{section}.{field}" for section, block in blocks.items() for field in block}
    found.update(path for factor in factors for path in factor.paths)
    return found.union(part.path for choice in included for part in choice)


def read_factors(axes: Mapping[str, Any], zips: Sequence[Any], problems: Problems) -> list[Factor]:
    """The factors of the product in written order: axes first, then zip groups."""
    factors = [
        Factor(choices)
        for path, written in axes.items()
        if (choices := _choices(path, written, f"axes.{path}", problems))
    ]
    for number, group in enumerate(zips):
        factor = _read_group(group, f"zip[{number}]", problems)
        if factor is not None:
            factors.append(factor)
    check_once(factors, problems)
    return factors


def read_point(written: Any, origin: str, problems: Problems) -> Choice:
    """Assignments of an `include` or `exclude` entry: dotted paths, or mappings that are flattened."""
    if not isinstance(written, Mapping):
        problems.add(origin, "must be a mapping of dotted paths to values", received=written)
        return ()
    if not written:
        problems.add(origin, "names no path", received=written)
    return tuple(
        part
        for path, value in written.items()
        if not problems.full
        if check_axis_path(path, f"{origin}.{path}", problems)
        if _check_mapping(path, value, f"{origin}.{path}", problems)
        for part in flattened(path, value, f"{origin}.{path}")
    )


_LEAVES: Final = frozenset({int, float, str, bool, list, type(None)})
"""Types of no mapping, known without asking each of half a million values."""


def flattened(path: str, value: Any, origin: str) -> Iterator[Assignment]:
    """Assignments to leaves; sections, `training.stop` and layers are merged, any other value is a leaf."""
    if (type(value) is dict or isinstance(value, Mapping)) and is_mapping(path):
        for key, inner in value.items():
            if type(inner) in _LEAVES or not isinstance(inner, Mapping):
                yield Assignment(f"{path}.{key}", inner, f"{origin}.{key}")
            else:
                yield from flattened(f"{path}.{key}", inner, f"{origin}.{key}")
    else:
        yield Assignment(path, value, origin)


def axis_values(path: str, written: Any) -> Any:
    """The values that an axis is written as; a range makes whole numbers where the setting is one.

    Raises:
        ValueError: a range that is none.
    """
    values = spaced(written)
    return values if values is written or not is_whole(path) else whole_numbers(values)


@cache
def is_whole(path: str) -> bool:
    """Whether a setting is a whole number, or null or a list in its place."""
    section, _, name = path.partition(".")
    field = SECTIONS[section].model_fields.get(name)
    return field is not None and _takes(field.annotation, int) and not _takes(field.annotation, float)


def _takes(annotation: Any, kind: type) -> bool:
    """Whether a type is this one, or a union of which it is a part."""
    if get_origin(annotation) is Annotated:
        return _takes(get_args(annotation)[0], kind)
    if get_origin(annotation) in (Union, UnionType):
        return any(_takes(part, kind) for part in get_args(annotation))
    return annotation is kind


def moving_together(grid: Mapping[str, Any]) -> list[str]:
    """Paths that tables and figures need not tell apart, because the first path of their zip group decides them."""
    return [
        path
        for group in grid.get("zip") or []
        for path in list(group)[1:]
        if _decides(next(iter(group.values())), group[path])
    ]


def _decides(first: Any, other: Any) -> bool:
    """Whether equal values of the first list stand beside equal values of the other."""
    if not isinstance(first, list) or not isinstance(other, list):
        return True
    pairs = {(repr(one), repr(two)) for one, two in zip(first, other, strict=False)}
    return len(pairs) == len({one for one, _ in pairs})


def _read_group(group: Any, origin: str, problems: Problems) -> Factor | None:
    """One zip group: its paths move together, so their lists must be equally long."""
    if not isinstance(group, Mapping) or not group:
        problems.add(origin, "must be a mapping of dotted paths to lists", received=group)
        return None
    columns = [_choices(path, written, f"{origin}.{path}", problems) for path, written in group.items()]
    lengths = {path: len(column) for path, column in zip(group, columns, strict=True)}
    if not all(lengths.values()):
        return None
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{path} has {length}" for path, length in lengths.items())
        problems.add(origin, f"lists that move together must be equally long: {told}")
        return None
    tables = [column for column in columns if isinstance(column, Table)]
    if len(tables) == len(columns):
        together = {path: values for table in tables for path, values in table.columns.items()}
        origins = {path: own for table in tables for path, own in table.origins.items()}
        return Factor(Table(together, origins))
    return Factor(tuple(tuple(part for column in row for part in column) for row in zip(*columns, strict=True)))


def _choices(path: str, written: Any, origin: str, problems: Problems) -> Sequence[Choice]:
    """The values of one path, each as the assignments it makes; empty after noting what is wrong."""
    if not check_axis_path(path, origin, problems):
        return []
    try:
        values = axis_values(path, written)
    except ValueError as error:
        problems.add(origin, str(error), received=written)
        return []
    if not isinstance(values, list):
        allowed = "a list, {log: [from, to, count]} or {linear: [from, to, count]}"
        problems.add(origin, "an axis needs a list of values", received=written, allowed=allowed)
        return []
    if not values:
        problems.add(origin, "an axis needs at least one value", received=written)
    if not is_mapping(path):
        return Table({path: values}, {path: (origin, "")})
    table = _table_of_mappings(path, values, origin) if values else None
    return table or _as_table(
        origin,
        [
            tuple(flattened(path, value, f"{origin}[{index}]"))
            for index, value in enumerate(values)
            if not problems.full and _check_mapping(path, value, f"{origin}[{index}]", problems)
        ],
    )


def _table_of_mappings(path: str, values: list[Any], origin: str) -> Table | None:
    """The choices of an axis of mappings as columns, if all have the same keys in one order and no mapping in them."""
    keys = list(values[0]) if type(values[0]) is dict else []
    if not keys or any(type(value) is not dict or list(value) != keys for value in values):
        return None
    columns = {f"{path}.{key}": [value[key] for value in values] for key in keys}
    if any(not _LEAVES.issuperset(map(type, column)) for column in columns.values()):
        return None
    return Table(columns, {f"{path}.{key}": (origin, f".{key}") for key in keys})


def _as_table(origin: str, choices: list[Choice]) -> Sequence[Choice]:
    """The choices of an axis of mappings, as columns if all have the same keys."""
    paths = [part.path for part in choices[0]] if choices else []
    if not paths or len(set(paths)) < len(paths) or any([part.path for part in one] != paths for one in choices):
        return choices
    columns = {path: [choice[at].value for choice in choices] for at, path in enumerate(paths)}
    start = len(f"{origin}[0]")
    return Table(columns, {part.path: (origin, part.origin[start:]) for part in choices[0]})


def check_axis_path(path: str, origin: str, problems: Problems) -> bool:
    """Whether the path leads into the settings of a trial."""
    if is_path(path):
        return True
    if path in ("seed", "seeds"):
        problems.add(origin, "seeds are no axis: write seeds, a list or how many, beside axes", received=path)
    else:
        problems.unknown(origin, "path", path, PATHS)
    return False


def _check_mapping(path: str, value: Any, origin: str, problems: Problems) -> bool:
    """Whether a value for a whole section is a mapping to merge."""
    if path in FIELDS and not (value and (type(value) is dict or isinstance(value, Mapping))):
        problems.add(origin, f"a value of {path} must be a mapping, which is merged", received=value)
        return False
    return True


def check_once(factors: Sequence[Factor], problems: Problems) -> None:
    """Refuse a path that two factors set, or that a factor sets beside the mapping it lies in."""
    seen: dict[str, str] = {}
    for factor in factors:
        own = _origins(factor)
        for path, origin in own.items():
            other = next((seen[known] for known in seen if overlap(known, path)), NOTHING)
            if other is not NOTHING:
                problems.add(_unindexed(origin), f"{path} is varied by {_unindexed(str(other))} too")
        seen |= own


def _origins(factor: Factor) -> dict[str, str]:
    """Each path of a factor, and a place that it came from."""
    some = factor.choices[:1] if isinstance(factor.choices, Table) else factor.choices
    return {part.path: part.origin for choice in some for part in choice}


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one leads into the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _unindexed(origin: str) -> str:
    """Origin without the index of its value: axes.training.steps[3] -> axes.training.steps."""
    return origin[: origin.rindex("[")] if origin.endswith("]") else origin
