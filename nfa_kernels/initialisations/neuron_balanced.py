"""Gaussian weights whose neurons are balanced: what goes into a hidden unit has the norm of what leaves it.

N(0, 1/fan_in), then from the first layer on the columns of W_{l+1} are rescaled so that |W_{l+1}[:, j]| = |W_l[j, :]|:
the diagonal of W_{l+1}^T W_{l+1} - W_l W_l^T vanishes, which gradient flow of a ReLU network conserves. Of
convolutions a neuron is a channel, and its column all pixels of it in the next kernel.
Source: Du, Hu, Lee 2018, arXiv:1806.00900, theorem 2.1.
"""

from collections.abc import Sequence

from torch import Tensor

from nfa_kernels.initialisations.gaussian import lecun


def neuron_balanced(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[Tensor]:
    """Balanced neuron by neuron, then times scale."""
    weights = lecun(widths, seed)
    for layer in range(1, len(weights)):
        weights[layer] = neuron_scaled(weights[layer - 1], weights[layer])
    return [scale * weight for weight in weights]


def neuron_scaled(lower: Tensor, upper: Tensor, columns: int = 1) -> Tensor:
    """`upper` (d'', d' columns) rescaled to the norms of the rows of `lower` (d', d).

    Args:
        lower: what goes into d' units, or channels.
        upper: what leaves them.
        columns: how many columns of `upper` read each of them, side by side, as the pixels of a kernel do.
    """
    out_of = upper.norm(dim=0)
    if columns == 1:
        return upper * (lower.norm(dim=1) / out_of)
    factors = lower.norm(dim=1) / out_of.reshape(-1, columns).norm(dim=1)
    return upper * factors.repeat_interleave(columns)
