"""Uniform weights on +-1/sqrt(fan_in), the default of torch's linear layer."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nfa_kernels.random_streams import stream


def uniform(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[Tensor]:
    """Layers of U(-1/sqrt(fan_in), 1/sqrt(fan_in)) times scale."""
    layers = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
        unit = torch.rand((fan_out, fan_in), generator=stream(f"init/{layer}", seed), dtype=torch.float64)
        layers.append(scale / math.sqrt(fan_in) * (2 * unit - 1))
    return layers
