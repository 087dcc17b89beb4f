"""Small stacks for the tests of the kernels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nfa_kernels.initialisations import initial_weights
from nfa_kernels.networks import Params


def stacked(scheme: str, widths: Sequence[int], seeds: Sequence[int], **settings: object) -> Params:
    """Initial weights of several seeds as a stack."""
    lanes = [initial_weights(scheme, widths, seed, **settings) for seed in seeds]
    return tuple(torch.stack(layer) for layer in zip(*lanes, strict=True))


def data(lanes: int, samples: int, inputs: int, outputs: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian inputs and targets of a stack."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(lanes, samples, inputs, generator=generator, dtype=torch.float64)
    return x, torch.randn(lanes, samples, outputs, generator=generator, dtype=torch.float64)


def lane(weights: Params, index: int) -> list:
    """One network of a stack, as NumPy arrays."""
    return [weight[index].numpy() for weight in weights]
