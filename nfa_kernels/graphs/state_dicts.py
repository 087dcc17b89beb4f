"""Arrays as `torch.nn` modules name them, by the names that a network's parameters have here; torch-free."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from nfa_kernels.graphs.encoder_layers import MAPS as _MAPS
from nfa_kernels.graphs.encoder_layers import with_encoders
from nfa_kernels.graphs.nodes import Shape

_NUMBERED: Final = re.compile(rf"(?:\d+\.)+(?:(?:{'|'.join(_MAPS)})\.)?(?:weight|bias)")
_IN_PROJ: Final = re.compile(r"(.+\.)in_proj_(weight|bias)")
_OUT_PROJ: Final = re.compile(r"(.+\.)out_proj\.(weight|bias)")
T = TypeVar("T")


def by_own_names(given: Mapping[str, T], needed: Sequence[str], third: Callable[[T, int], T | None]) -> dict[str, T]:
    """Arrays under the names that a network reads.

    `torch.nn.Sequential` calls its parameters by the numbers of their modules, as 0.weight, 0.bias, 2.weight, or of
    modules within modules, as 2.0.weight. Where all arrays are called so and there are as many as are needed, they are
    taken in that order. `torch.nn.MultiheadAttention` has query, key and value in one array, in_proj_weight (3 d, d),
    and calls its output out_proj: these become the four maps of an attention. Of encoder
    layers see `with_encoders`. Any other arrays keep their names.

    Args:
        given: arrays, or shapes, by name.
        needed: names of a network's parameters, in forward order, of a layer its weight before its bias.
        third: the i-th third of an array's rows, None if they are not three times as many.
    """
    found = _with_maps(given, third)
    if (whole := with_encoders(found, needed)) is not None:
        return whole
    if len(found) != len(needed) or not all(map(_NUMBERED.fullmatch, found)):
        return found
    return dict(zip(needed, (found[name] for name in sorted(found, key=_place)), strict=True))


def third_of_shape(shape: Shape, index: int) -> Shape | None:
    """The shape of any third of an array's rows."""
    return None if not shape or shape[0] % 3 else (shape[0] // 3, *shape[1:])


def third_of_array(array: Any, index: int) -> Any:
    """The index-th third of an array's rows."""
    shape = third_of_shape(tuple(array.shape), index)
    return None if shape is None else array[index * shape[0] : (index + 1) * shape[0]]


def mlp_names(depth: int, count: int) -> list[str]:
    """w1, b1, w2, .. of a fully connected network, in forward order; weights alone where there are as many arrays."""
    kinds = "w" if count == depth else "wb"
    return [f"{kind}{layer}" for layer in range(1, depth + 1) for kind in kinds]


def _with_maps(given: Mapping[str, T], third: Callable[[T, int], T | None]) -> dict[str, T]:
    """Query, key, value and output in place of what `MultiheadAttention` has; only of modules that have in_proj."""
    found: dict[str, T] = {}
    owners = {one[1] for one in map(_IN_PROJ.fullmatch, given) if one}
    for name, array in given.items():
        together, output = _IN_PROJ.fullmatch(name), _OUT_PROJ.fullmatch(name)
        parts = [part for index in range(3) if (part := third(array, index)) is not None] if together else []
        if together and parts:
            prefix, kind = together.groups()
            found |= {f"{prefix}{_MAPS[index]}.{kind}": part for index, part in enumerate(parts)}
        elif output and output[1] in owners:
            found[f"{output[1]}output.{output[2]}"] = array
        else:
            found[name] = array
    return found


def _place(name: str) -> tuple[list[int], int, bool]:
    """Where a parameter stands: its modules' numbers, the place of an attention's map, a bias behind its weight."""
    *modules, kind = name.split(".")
    own = _MAPS.index(modules.pop()) if modules[-1] in _MAPS else 0
    return [int(number) for number in modules], own, kind == "bias"
