"""What every setting of a trial is, in words, out of its model: for people who write a grid. Pure."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from service.grid.axes import SECTIONS


class SettingHelp(NamedTuple):
    """A setting: its path, what it may be, what it is where a grid is silent, and what it means."""

    path: str
    allowed: str
    default: str
    meaning: str


@cache
def settings_help() -> tuple[SettingHelp, ...]:
    """Every setting, in the order of the sections."""
    found = []
    for section, model in SECTIONS.items():
        schema = model.model_json_schema()
        for name, part in schema["properties"].items():
            default = "" if part.get("default") is None else _written(part["default"])
            told = part.get("description", "")
            found.append(SettingHelp(f"{section}.{name}", _allowed(part, schema.get("$defs", {})), default, told))
    return tuple(found)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _allowed(part: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """What a part of a JSON schema lets in."""
    if "anyOf" in part:
        return " or ".join(_allowed(one, models) for one in part["anyOf"] if one.get("type") != "null")
    if "$ref" in part or "properties" in part:
        fields = (models[part["$ref"].rpartition("/")[2]] if "$ref" in part else part)["properties"]
        return f"{{{', '.join(f'{name}: {_allowed(one, models)}' for name, one in fields.items())}}}"
    if "enum" in part:
        return ", ".join(part["enum"])
    if part.get("type") == "array":
        return f"list: {_allowed(part['items'], models)}"
    if "additionalProperties" in part or "patternProperties" in part:
        inner = part.get("additionalProperties") or next(iter(part["patternProperties"].values()))
        return f"{{layer: {_allowed(inner, models)}}}"
    words = {"object": "mapping", "integer": "whole number", "number": "number", "boolean": "true or false"}
    # what a text must look like is said in words
    text = part.get("description", "text") if "pattern" in part else "text"
    return words.get(part.get("type", ""), text) + _range(part)


def _range(part: Mapping[str, Any]) -> str:
    """The bounds of a number, which pydantic writes in two ways."""
    low = part.get("minimum", part.get("ge"))
    above = part.get("exclusiveMinimum", part.get("gt"))
    high = part.get("maximum", part.get("le"))
    below = part.get("exclusiveMaximum", part.get("lt"))
    if low is not None and high is not None and high < 2**53:
        return f" {low:,} to {high:,}"
    # 64 bits are no bound that anybody meets
    signs = ((">=", low), (">", above), ("<", below))
    return "".join(f" {sign} {bound:,}" for sign, bound in signs if bound is not None)
