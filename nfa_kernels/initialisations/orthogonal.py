"""Haar orthogonal layers: orthonormal columns, or rows where a layer is wide; balanced only if all are square."""

import itertools
from collections.abc import Sequence

from torch import Tensor

from nfa_kernels.random_streams import haar_columns, stream


def orthogonal(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[Tensor]:
    """Layers with all singular values equal to scale. Source: Saxe et al. 2014, arXiv:1312.6120."""
    layers = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
        frame = haar_columns(max(fan_in, fan_out), min(fan_in, fan_out), stream(f"init/{layer}", seed))
        layers.append(scale * (frame if fan_out >= fan_in else frame.mT))
    return layers
