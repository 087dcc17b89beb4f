"""Independent Gaussian weights: he, xavier, lecun, and N(0, 1)."""

import itertools
import math
from collections.abc import Callable, Sequence

from torch import Tensor

from nfa_kernels.random_streams import normal, stream


def gaussian(widths: Sequence[int], seed: int, scale: float, variance: Callable[[int, int], float]) -> list[Tensor]:
    """Layers of N(0, variance(fan_in, fan_out)) times scale."""
    return [
        scale * math.sqrt(variance(fan_in, fan_out)) * normal((fan_out, fan_in), stream(f"init/{layer}", seed))
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1)
    ]


def he(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[Tensor]:
    """N(0, 2/fan_in). Source: He et al. 2015, arXiv:1502.01852."""
    return gaussian(widths, seed, scale, lambda fan_in, _: 2 / fan_in)


def xavier(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[Tensor]:
    """N(0, 2/(fan_in + fan_out)). Source: Glorot and Bengio 2010."""
    return gaussian(widths, seed, scale, lambda fan_in, fan_out: 2 / (fan_in + fan_out))


def lecun(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[Tensor]:
    """N(0, 1/fan_in). Source: LeCun et al. 1998, Efficient BackProp."""
    return gaussian(widths, seed, scale, lambda fan_in, _: 1 / fan_in)


def standard_normal(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[Tensor]:
    """N(0, 1), as the ntk and mean_field parameterisations want it."""
    return gaussian(widths, seed, scale, lambda _, __: 1.0)
