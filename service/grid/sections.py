"""One section of a grid point: merged, validated and in canonical form, once for all points that agree in it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ValidationError

from nfa_kernels.graphs.errors import why_not
from service.grid.axes import FIELDS, KEYED, SECTIONS, Assignment, fields_below, is_mapping
from service.grid.formula_places import is_setting
from service.grid.formulas import MAX_LENGTH, FormulaError, parse
from service.grid.problems import Problems, deepest, without_most
from service.grid.setting_types import Section


@dataclass(frozen=True)
class SectionValue:
    """The written values of a section merged over the trial block, and what became of them."""

    name: str
    written: Mapping[str, Any]
    origins: Mapping[str, str]
    """Dotted path -> place in the document, for values that an axis, zip group or include set."""
    model: Section | None
    """None after its problems were noted."""
    has_key: ClassVar[bool] = False
    """Stack keys are those of its own already."""

    @property
    def template(self) -> "SectionValue":
        """Itself: it is looked at as a whole."""
        return self

    def value(self, path: str) -> Any:
        """The value at a path into this section: validated where it can be, else as written, else the default."""
        return value_at(self.model, self.written, self.name, path)


def merge_section(block: Mapping[str, Any], assignments: Iterable[Assignment]) -> tuple[dict[str, Any], dict[str, str]]:
    """The trial block's section with assignments merged over it, and where each assigned path came from."""
    merged: dict[str, Any] = dict(block)
    origins: dict[str, str] = {}
    for part in assignments:
        origins[part.path] = part.origin
        _put(merged, part.path.split(".")[1:], part.value)
    return merged, origins


def _put(mapping: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set what lies below a mapping's keys; mappings on the way are copied, whatever else is there gives way."""
    key, *below = keys
    if not below:
        mapping[key] = value
        return
    inner = mapping.get(key)
    mapping[key] = dict(inner) if isinstance(inner, Mapping) else {}
    _put(mapping[key], below, value)


def validate_section(
    name: str, written: Mapping[str, Any], origins: Mapping[str, str], problems: Problems
) -> SectionValue:
    """Validate one section; wrong fields are noted under the place that set them."""
    try:
        valid = SECTIONS[name].model_validate(without_most(written, FIELDS[name]))
    except ValidationError as error:
        note(name, error, origins, problems)
        return SectionValue(name, written, origins, None)
    return SectionValue(name, written, origins, valid)


def value_at(model: Section | None, written: Mapping[str, Any], section: str, path: str) -> Any:
    """The value at a dotted path, from the model if there is one, else as written with the section's default."""
    keys = re.split(r"[.\[]", path)[1:]
    value: Any = model
    if model is None:
        field = SECTIONS[section].model_fields.get(keys[0])
        value = {keys[0]: written.get(keys[0], field.default if field else None)}
    for key in keys:
        if key.endswith("]"):
            value = value[int(key[:-1])] if isinstance(value, list | tuple) else None
        else:
            value = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
    if isinstance(value, Section):
        return value.model_dump(exclude_none=True)
    return list(value) if isinstance(value, tuple) else value


def origin_of(path: str, origins: Mapping[str, str]) -> str:
    """Where in the document the value at a path came from: an axis' value, or the trial block."""
    known = [name for name in origins if path == name or path.startswith((f"{name}.", f"{name}["))]
    if not known:
        return f"trial.{path}"
    longest = max(known, key=len)
    return origins[longest] + path[len(longest) :]


def note(name: str, error: ValidationError, origins: Mapping[str, str], problems: Problems) -> None:
    """Pydantic's errors under readable paths; of a union's branches the one that went deepest counts."""
    found = [(_path(name, detail["loc"]), detail) for detail in error.errors(include_url=False)]
    for path, detail in deepest(found):
        prefix = path.rpartition(".")[0]
        allowed = [f"{prefix}.{field}" for field in (fields_below(prefix) if is_mapping(prefix) else FIELDS[name])]
        place = origin_of(path, origins)
        if detail["type"] == "extra_forbidden":
            if name == "network" and (why := why_not(path.rpartition(".")[2])) is not None:
                problems.add(place, why, received=path)
            else:
                problems.unknown(place, "key", path, allowed)
        elif detail["type"] == "model_type" and is_mapping(path):
            keys = ", ".join(fields_below(path))
            problems.add(place, f"must be a mapping of {keys}", received=detail["input"], allowed=[*fields_below(path)])
        elif detail["type"] in ("int_type", "float_type") and _is_arithmetic(detail["input"]):
            problems.add(place, f"{detail['msg']}: a formula begins with =", received=detail["input"])
        else:
            problems.add_pydantic(detail, place, allowed)


def _is_arithmetic(value: Any) -> bool:
    """Whether a text is a formula but for its sign, and no number."""
    if not isinstance(value, str) or len(value) >= MAX_LENGTH - 2:
        return False
    try:
        found = parse(f"= {value}", is_setting)
    except FormulaError:
        return False
    return bool(found.paths) or len(found.steps) > 1


def _path(name: str, location: tuple[int | str, ...]) -> str:
    """Dotted path of a pydantic location: below a field only mappings have keys, all else marks branches of unions."""
    path = name
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif (is_mapping(path) or path in KEYED) and part != "[key]":
            path += f".{part}"
    return path
