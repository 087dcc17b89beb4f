"""Independent uniform weights: +-1/sqrt(fan_in), the default of torch's linear layer, and Xavier's."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nfa_kernels.random_streams import stream


def uniform(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[Tensor]:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)) times scale."""
    return _layers(widths, seed, scale, lambda fan_in, _: fan_in**-0.5)


def xavier_uniform(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[Tensor]:
    """Uniform on +-sqrt(6 / (fan_in + fan_out)) times scale. Source: Glorot and Bengio 2010."""
    return _layers(widths, seed, scale, lambda fan_in, fan_out: (6 / (fan_in + fan_out)) ** 0.5)


def _layers(widths: Sequence[int], seed: int, scale: float, bound: Callable[[int, int], float]) -> list[Tensor]:
    layers = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
        unit = torch.rand((fan_out, fan_in), generator=stream(f"init/{layer}", seed), dtype=torch.float64)
        layers.append(scale * bound(fan_in, fan_out) * (2 * unit - 1))
    return layers
