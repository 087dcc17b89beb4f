"""Arrays of `torch.nn.TransformerEncoder` and its layers, by the names that a network's parameters have; torch-free."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

MAPS: Final = ("query", "key", "value", "output")
_PARTS: Final = (
    ("self_attn", "norm1", "linear1", "linear2", "norm2"),
    ("norm1", "self_attn", "norm2", "linear1", "linear2"),
)
"""The modules of a layer as data pass through them, with norm_first=False and with norm_first=True."""
_PART: Final = re.compile(
    rf"(?P<before>(?:.+\.)?)(?P<part>self_attn|norm1|norm2|linear1|linear2)(?:\.(?P<map>{'|'.join(MAPS)}))?"
    r"\.(?P<kind>weight|bias)"
)
_LAYER: Final = re.compile(r"(?P<before>(?:.+\.)?)layers\.\d+\.")
_LAST: Final = re.compile(r"(?P<before>(?:.+\.)?)norm\.(?P<kind>weight|bias)")
_NUMBERED: Final = re.compile(r"(?P<before>(?:\d+\.)+)(?P<kind>weight|bias)")
_BEHIND: Final = 1_000_000_000
"""Stands behind the number of any layer."""
T = TypeVar("T")


class _Place(NamedTuple):
    """Where an array stands, in the order of a forward pass."""

    modules: tuple[int, ...]
    part: int
    map: int
    is_bias: bool


def with_encoders(given: Mapping[str, T], needed: Sequence[str]) -> dict[str, T] | None:
    """Arrays under the names that a network reads; None where they hold no encoder layers, or do not fit.

    An encoder layer has self_attn, linear1, linear2, norm1 and norm2, in the order in which its network passes through
    them; an encoder has them under layers.0, layers.1, .., and perhaps a last norm. Other arrays are called as the
    network calls them, or by numbers as `torch.nn.Sequential` does.

    Args:
        given: by name, of attentions the four maps.
        needed: names of the network's parameters, in forward order, of a layer its weight before its bias.
    """
    layers = {one["before"] for name in given if (one := _PART.fullmatch(name)) and one["part"] == "self_attn"}
    queries = [at for at, name in enumerate(needed) if name.endswith(".query.weight")]
    words = {re.sub(r"\d+\.", "", before) for before in layers}
    if not layers or not queries or len(words) > 1:
        return None
    own = {name for name in given if name in needed and _part_of(name, layers) is None}
    begin = min(map(_numbers, layers))
    sequential = {name: _numbers(one["before"]) for name in given if (one := _NUMBERED.fullmatch(name))}
    before = sum(name in own for name in needed[: queries[0]]) + sum(one < begin for one in sequential.values())
    places = {name: _place(name, layers, is_first=queries[0] > before) for name in given if name not in own}
    slots = [name for name in needed if name not in own]
    if len(places) != len(slots) or None in places.values():
        return None
    order = sorted(places, key=lambda name: places[name] or ())
    return {name: given[name] for name in own} | dict(zip(slots, (given[name] for name in order), strict=True))


def _part_of(name: str, layers: set[str]) -> re.Match[str] | None:
    """What an array is in one of these encoder layers."""
    found = _PART.fullmatch(name)
    return found if found and found["before"] in layers else None


def _place(name: str, layers: set[str], *, is_first: bool) -> _Place | None:
    """Where an array stands; None for one that stands nowhere."""
    if found := _part_of(name, layers):
        part = _PARTS[is_first].index(found["part"])
        own = MAPS.index(found["map"]) if found["map"] else 0
        return _Place(_numbers(found["before"]), part, own, found["kind"] == "bias")
    if found := _NUMBERED.fullmatch(name):
        return _Place(_numbers(found["before"]), 0, 0, found["kind"] == "bias")
    encoders = {one["before"] for layer in layers if (one := _LAYER.fullmatch(layer))}
    if (found := _LAST.fullmatch(name)) and found["before"] in encoders:
        return _Place((*_numbers(found["before"]), _BEHIND), 0, 0, found["kind"] == "bias")
    return None


def _numbers(before: str) -> tuple[int, ...]:
    """The numbers of the modules around an array."""
    return tuple(int(part) for part in before.split(".") if part.isdecimal())
