"""One field of a section validated by itself: a column of an axis at once, or one value for a message. Pure."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError, create_model

from service.grid.axes import SECTIONS
from service.grid.problems import Problems, without_most
from service.grid.sections import note
from service.grid.setting_types import Section

REFUSED: Final = object()
"""In the place of a value that is no value of its field."""


def checked(path: str, values: Sequence[Any]) -> list[Any]:
    """Values of a field as its section has them, all looked at at once where all are valid; `REFUSED` for others."""
    one, many = _adapters(path)
    try:
        return many.validate_python(list(values))
    except ValidationError:
        return [_one(one, value) for value in values]


def _one(adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return REFUSED


def field_alone(
    path: str, written: Mapping[str, Any], origins: Mapping[str, str], problems: Problems
) -> Section | None:
    """A section of the one field that a path leads into, out of what is written there; None after noting what is wrong.

    Args:
        path: a field, or what lies below it.
        written: the section as written.
        origins: places in the document, as for `validate_section`.
        problems: where it is noted.
    """
    section, name, *_ = path.split(".")
    try:
        return _alone(section, name).model_validate(
            without_most({name: written[name]} if name in written else {}, [name])
        )
    except ValidationError as error:
        note(section, error, origins, problems)
        return None


@cache
def _adapters(path: str) -> tuple[TypeAdapter[Any], TypeAdapter[Any]]:
    """Of one value of a field, and of a list of them; as strict as sections are."""
    section, _, name = path.partition(".")
    field = SECTIONS[section].model_fields[name]
    one = Annotated[(field.annotation, field)]  # ty: ignore[invalid-type-form]
    strict = ConfigDict(strict=True, allow_inf_nan=False)
    return TypeAdapter(one, config=strict), TypeAdapter(list[one], config=strict)


@cache
def _alone(section: str, name: str) -> type[Section]:
    field = SECTIONS[section].model_fields[name]
    return create_model(f"{section}.{name}", __base__=Section, **{name: (field.annotation, field)})  # ty: ignore
