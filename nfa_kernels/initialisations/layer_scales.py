"""Xavier with the first and last layer rescaled: a controlled imbalance."""

from collections.abc import Sequence

from torch import Tensor

from nfa_kernels.initialisations.gaussian import xavier


def layer_scales(
    widths: Sequence[int], seed: int, scale: float = 1.0, first: float = 1.0, last: float = 1.0
) -> list[Tensor]:
    """Xavier times [first, 1, .., 1, last] times scale.

    Raises:
        ValueError: for one layer, which would be both first and last.
    """
    if len(widths) < 3:
        raise ValueError("layer_scales: received depth 1, allowed is depth >= 2: one layer cannot be first and last")
    weights = xavier(widths, seed, scale)
    weights[0], weights[-1] = first * weights[0], last * weights[-1]
    return weights
