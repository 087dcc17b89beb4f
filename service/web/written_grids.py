"""A grid as somebody would write it: YAML, keys in the order of the format, leaves on a line. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from service.grid.axes import SECTIONS
from service.grid.outline import Grid

_LINE: Final = 118
_INDENTED: Final = 12
_NUMBER: Final = re.compile(r"[-+]?[0-9._][0-9._]*([eE][-+]?[0-9]+)?|0[obxOBX][0-9a-fA-F_]+")
"""Words that YAML 1.2 reads as numbers, which PyYAML, of 1.1, does not all quote."""


def as_yaml(grid: Mapping[str, Any]) -> str:
    """A grid as text that reads back as the same grid; a store keeps no order of keys, so it is given one."""
    ordered = {key: grid[key] for key in Grid.model_fields if key in grid}
    if isinstance(ordered.get("trial"), Mapping):
        ordered["trial"] = {name: ordered["trial"][name] for name in SECTIONS if name in ordered["trial"]}
    return yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=_LINE, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Never writes a list twice by an alias, and long texts as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        """Leaves on a line where they fit into one: a key with its value is not broken in two."""
        node = super().represent_mapping(tag, mapping, flow_style)
        if (
            node.flow_style
            and sum(len(f"{key}: {value}, ") for key, value in dict(mapping).items()) > _LINE - _INDENTED
        ):
            node.flow_style = False
        return node


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text.strip() else "'" if _NUMBER.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
