"""The grid format as JSON Schema, for editors that complete and check: out of the models that read it. Pure.

A schema says what a key may hold, not what goes together: what it lets through, the service may still refuse.
"""

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from service.grid.axes import SECTIONS
from service.grid.notify import SCHEMA
from service.grid.outline import Grid
from service.grid.sampling import FORMS, Sample

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SECTION: Final = "^(" + "|".join(SECTIONS) + r")(\.|$)"
_SPAN: Final = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
_RANGE: Final = {
    "type": "object",
    "description": "Numbers at even distances, or at even ratios: [from, to, count].",
    "properties": {"log": _SPAN, "linear": _SPAN},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
_REPEAT: Final = {
    "type": "object",
    "description": "[value, count] pairs, as [[1, 10], [0.01, 190]].",
    "properties": {"repeat": {"type": "array", "items": {"type": "array", "minItems": 2, "maxItems": 2}}},
    "required": ["repeat"],
    "additionalProperties": False,
}
_FORMULA: Final = r"^\s*="
_ENDS: Final = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_CHOICES: Final = {"type": "array", "minItems": 1}
_DRAWN_FROM: Final = [
    _CHOICES,
    {
        "type": "object",
        "description": " or ".join(FORMS.values()),
        "properties": {
            **dict.fromkeys(("linear", "uniform", "log_uniform", "log", "integers"), _ENDS),
            "choices": _CHOICES,
        },
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    },
]
_BOUNDS: Final = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


@cache
def _schema() -> dict[str, Any]:
    definitions: dict[str, Any] = {"range": _RANGE, "repeat": _REPEAT}
    sections = {name: _section(name, model.model_json_schema(), definitions) for name, model in SECTIONS.items()}
    settings = {
        f"{section}.{name}": {"$ref": f"#/$defs/{section}/properties/{name}"}
        for section, schema in sections.items()
        for name in schema["properties"]
    }
    definitions |= sections
    definitions["axes"] = {
        "type": "object",
        "description": "Dotted path -> its values: a list, or {log: [from, to, count]} or {linear: ..}.",
        "propertyNames": {"pattern": _SECTION},
        "properties": {path: _values(path, one) for path, one in settings.items()},
    }
    definitions["point"] = {
        "type": "object",
        "propertyNames": {"pattern": _SECTION},
        "properties": {path: {"anyOf": [one, {"type": ["array", "object"]}]} for path, one in settings.items()},
    }
    schema = _readable(Grid.model_json_schema())
    properties = schema["properties"]
    properties["trial"] |= {
        "properties": {name: {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]} for name in SECTIONS},
        "additionalProperties": False,
    }
    properties["axes"] |= {"additionalProperties": True, "$ref": "#/$defs/axes"}
    properties["zip"]["items"] = {"$ref": "#/$defs/axes"}
    properties["sample"]["anyOf"] = [_sample(), {"type": "null"}]
    properties["include"]["items"] = properties["exclude"]["items"] = {"$ref": "#/$defs/point"}
    properties["notify"]["items"] = SCHEMA
    # a key with nothing after it says nothing
    schema["properties"] = {
        name: {"description": one.get("description", ""), "anyOf": [one, {"type": "null"}]}
        for name, one in properties.items()
    }
    return {"$schema": DIALECT, **schema, "$defs": definitions}


def grid_schema() -> dict[str, Any]:
    """The schema of a grid, JSON Schema 2020-12; a copy, which the caller may change."""
    return copy.deepcopy(_schema())


def _values(path: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    """What may stand on the axis of a setting."""
    listed = {"type": "array", "items": {"anyOf": [setting, {"type": "null"}]}, "minItems": 1}
    return {"description": f"Values of {path}.", "anyOf": [listed, {"$ref": "#/$defs/range"}]}


def _sample() -> dict[str, Any]:
    """What may stand under `sample`."""
    schema = _readable(Sample.model_json_schema())
    schema["properties"]["ranges"] |= {
        "propertyNames": {"pattern": _SECTION},
        "additionalProperties": {"anyOf": _DRAWN_FROM},
    }
    return schema


def _section(name: str, schema: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A section's schema with its models under `$defs` of the whole, and ranges wherever it takes lists."""
    whole = _readable(schema, name)
    definitions |= {f"{name}_{inner}": one for inner, one in whole.pop("$defs", {}).items()}
    for key, one in whole["properties"].items():
        if "array" in (one.get("type"), *(part.get("type") for part in one.get("anyOf", ()))):
            told = {part: one[part] for part in ("description", "default") if part in one}
            ranges = [{"$ref": "#/$defs/range"}, {"$ref": "#/$defs/repeat"}]
            whole["properties"][key] = told | {"anyOf": [one, *ranges]}
    return whole


def _readable(part: Any, section: str = "") -> Any:
    """A schema of pydantic with bounds as JSON Schema writes them, references into the whole, and no titles.

    In a section a formula may stand for any number.
    """
    if isinstance(part, list):
        return [_readable(one, section) for one in part]
    if not isinstance(part, dict):
        return part
    found: dict[str, Any] = {}
    for key, value in part.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "$ref":
            found[key] = f"#/$defs/{section}_{value.rpartition('/')[2]}"
        else:
            found[_BOUNDS.get(key, key)] = _readable(value, section)
    if section and found.get("type") in ("number", "integer"):
        # bounds are of numbers alone, and the pattern of texts alone
        found |= {"type": [found["type"], "string"], "pattern": _FORMULA}
    return found
