"""Arrays as `torch.nn.Sequential` names them, by the names that a network's parameters have here; torch-free."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

_NUMBERED: Final = re.compile(r"(?:\d+\.)+(?:weight|bias)")
T = TypeVar("T")


def by_own_names(given: Mapping[str, T], needed: Sequence[str]) -> dict[str, T]:
    """Arrays under the names that a network reads.

    `torch.nn.Sequential` calls its parameters by the numbers of their modules, as 0.weight, 0.bias, 2.weight, or of
    modules within modules, as 2.0.weight. Where all arrays are called so and there are as many as are needed, they are
    taken in that order. Any other arrays keep their names.

    Args:
        given: arrays, or shapes, by name.
        needed: names of a network's parameters, in forward order, of a layer its weight before its bias.
    """
    if len(given) != len(needed) or not all(map(_NUMBERED.fullmatch, given)):
        return dict(given)
    return dict(zip(needed, (given[name] for name in sorted(given, key=_place)), strict=True))


def mlp_names(depth: int, count: int) -> list[str]:
    """w1, b1, w2, .. of a fully connected network, in forward order; weights alone where there are as many arrays."""
    kinds = "w" if count == depth else "wb"
    return [f"{kind}{layer}" for layer in range(1, depth + 1) for kind in kinds]


def _place(name: str) -> tuple[list[int], bool]:
    """Where a parameter stands: its modules' numbers, and a bias behind its weight."""
    *modules, kind = name.split(".")
    return [int(number) for number in modules], kind == "bias"
