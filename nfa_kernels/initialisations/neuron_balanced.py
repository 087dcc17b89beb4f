"""Gaussian weights whose neurons are balanced: what goes into a hidden unit has the norm of what leaves it.

N(0, 1/fan_in), then from the first layer on the columns of W_{l+1} are rescaled so that |W_{l+1}[:, j]| = |W_l[j, :]|:
the diagonal of W_{l+1}^T W_{l+1} - W_l W_l^T vanishes, which gradient flow of a ReLU network conserves.
Source: Du, Hu, Lee 2018, arXiv:1806.00900, theorem 2.1.
"""

from collections.abc import Sequence

from torch import Tensor

from nfa_kernels.initialisations.gaussian import lecun


def neuron_balanced(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[Tensor]:
    """Balanced neuron by neuron, then times scale."""
    weights = lecun(widths, seed)
    for layer in range(1, len(weights)):
        into, out_of = weights[layer - 1].norm(dim=1), weights[layer].norm(dim=0)
        weights[layer] = weights[layer] * (into / out_of)
    return [scale * weight for weight in weights]
