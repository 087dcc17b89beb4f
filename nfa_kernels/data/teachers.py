"""What a teacher's targets depend on: kind -> function(seed, **settings) -> orthonormal directions (D, R).

Directions are of inputs, of conv_teacher of patches in the order of a kernel's numbers. They are drawn again from the
stream `teacher`, so that whoever knows a trial's settings knows them.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nfa_kernels.data.conv_teacher import teacher
from nfa_kernels.data.index_models import frame
from nfa_kernels.data.linear_teacher import frames
from nfa_kernels.data.sparse_parity import coordinates
from nfa_kernels.random_streams import stream


def _linear(
    seed: int, inputs: int = 10, outputs: int = 4, spectrum: Sequence[float] = (3.0, 2.0, 1.5, 1.0), **_: object
) -> Tensor:
    """Right singular vectors of the singular values that are not 0."""
    right = frames(seed, inputs, outputs, len(spectrum))[1]
    return right[:, torch.tensor([value != 0 for value in spectrum], dtype=torch.bool)]


def _index(seed: int, inputs: int = 10, directions: int = 1, **_: object) -> Tensor:
    return frame(inputs, directions, stream("teacher", seed))


def _parity(seed: int, inputs: int = 10, order: int = 3, **_: object) -> Tensor:
    return torch.eye(inputs, dtype=torch.float64)[:, coordinates(seed, inputs, order)]


def _patches(seed: int, channels: int = 1, patch: int = 3, filters: int = 2, outputs: int = 4, **_: object) -> Tensor:
    return teacher(seed, channels, patch, filters, outputs)[0]


DIRECTIONS: dict[str, Callable[..., Tensor]] = {
    "linear_teacher": _linear,
    "single_index": _index,
    "multi_index": lambda seed, directions=2, **settings: _index(seed, directions=directions, **settings),
    "sparse_parity": _parity,
    "conv_teacher": _patches,
}


def teacher_directions(kind: str, seed: int, **settings: object) -> Tensor:
    """(D, R) of the data that `make_data` draws of the same arguments; (0, 0) of kinds without a teacher."""
    if kind not in DIRECTIONS:
        return torch.zeros(0, 0, dtype=torch.float64)
    return DIRECTIONS[kind](seed, **settings)


def stacked_directions(parts: Sequence[Tensor]) -> Tensor:
    """(K, D, R) of directions (D, R) of several networks, columns of 0 behind where one has fewer.

    Networks of other D, of which a stack has none, stand apart as (K, 0, 0).
    """
    if len({len(part) for part in parts}) > 1:
        return torch.zeros(len(parts), 0, 0, dtype=torch.float64)
    most = max(part.shape[1] for part in parts)
    return torch.stack([torch.nn.functional.pad(part, (0, most - part.shape[1])) for part in parts])
