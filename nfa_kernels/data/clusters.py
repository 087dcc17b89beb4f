"""Points near the coordinate axes with targets along them: data on which a ReLU network that fits violates the ansatz.

Point j is x^(j) = radius (e_j - offset sum_{i != j} e_i), repeated counts[j] times, with target y = radius strengths[j]
e_j. With ReLU and offset in (0, 1/(D-1)) the balanced network W_1 = W_2 = diag(sqrt(strengths)) fits it exactly; its
AGOP at the input, diag(pi_j s_j^2) with pi_j the frequencies, is no power of its Gram matrix diag(s_j).
Source: after the counterexamples of Tansley et al. 2025, arXiv:2510.15563; the numbers are this project's own.
"""

from collections.abc import Sequence

import torch

from nfa_kernels.data.dataset import Data


def clusters(
    seed: int,
    strengths: Sequence[float] = (4.0, 1.0, 1.0),
    counts: Sequence[int] = (1, 64, 64),
    offset: float = 0.25,
    radius: float = 1.0,
) -> Data:
    """The points in order, no test set; the seed plays no part.

    Raises:
        ValueError: no strengths, other numbers of counts than of strengths, or a count below 1.
    """
    if not strengths or len(counts) != len(strengths):
        raise ValueError(f"counts: received {len(counts)} for {len(strengths)} strengths; one each is needed")
    if min(counts) < 1:
        raise ValueError(f"counts: received {min(counts)}, allowed are numbers >= 1")
    width = len(strengths)
    corners = radius * ((1 + offset) * torch.eye(width, dtype=torch.float64) - offset)
    targets = radius * torch.diag(torch.tensor(list(strengths), dtype=torch.float64))
    repeated = torch.repeat_interleave(torch.arange(width), torch.tensor(list(counts)))
    x, y = corners[repeated], targets[repeated]
    return Data(x, y, x[:0], y[:0])
