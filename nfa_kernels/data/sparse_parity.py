"""The parity of a few of many signs: x uniform on {-1, 1}^D, y the product of `order` coordinates, one output.

Streams: `teacher` for which coordinates, `data` and `test` for the signs.
Source: Barak et al. 2022, arXiv:2207.08799.
"""

import torch
from torch import Tensor

from nfa_kernels.data.dataset import Data
from nfa_kernels.random_streams import stream


def sparse_parity(seed: int, samples: int = 200, inputs: int = 10, order: int = 3, test_samples: int = 0) -> Data:
    """Signs and their parity, -1 or 1.

    Raises:
        ValueError: no samples, or an order outside 1..inputs.
    """
    if samples < 1:
        raise ValueError(f"samples: received {samples}, at least 1 is needed")
    if not 1 <= order <= inputs:
        raise ValueError(f"order: received {order}, allowed are 1 .. inputs = {inputs}")
    chosen = coordinates(seed, inputs, order)
    x, x_test = _signs(samples, inputs, "data", seed), _signs(test_samples, inputs, "test", seed)
    return Data(x, x[:, chosen].prod(1, keepdim=True), x_test, x_test[:, chosen].prod(1, keepdim=True))


def coordinates(seed: int, inputs: int, order: int) -> Tensor:
    """Which coordinates the target is a product of."""
    return torch.randperm(inputs, generator=stream("teacher", seed))[:order]


def _signs(rows: int, columns: int, purpose: str, seed: int) -> Tensor:
    drawn = torch.randint(2, (rows, columns), generator=stream(purpose, seed))
    return (2 * drawn - 1).to(torch.float64)
