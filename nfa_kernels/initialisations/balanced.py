"""Exactly balanced layers: W_{l+1}^T W_{l+1} = W_l W_l^T.

A = U S V^T of rank r = min(all widths) is split as W_1 = Q_1 S^{1/L} V^T, W_l = Q_l S^{1/L} Q_{l-1}^T,
W_L = U S^{1/L} Q_{L-1}^T with Haar Q_l, Q_l^T Q_l = I_r. A is a Gaussian (d_L, d_0) matrix cut to rank r and scaled so
that the largest singular value of every layer is `scale`. A draws from `init/0`, Q_l from `init/l`.
Source: Arora et al. 2019, arXiv:1810.02281, procedure 1; Haar frames instead of identity blocks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nfa_kernels.random_streams import haar_columns, normal, stream


def balanced(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[Tensor]:
    """Balanced layers whose largest singular value is `scale` each."""
    depth, rank = len(widths) - 1, min(widths)
    u, s, vh = torch.linalg.svd(normal((widths[-1], widths[0]), stream("init/0", seed)), full_matrices=False)
    per_layer = scale * (s[:rank] / s[0]) ** (1 / depth)
    frames = [vh[:rank].mT]
    frames += [haar_columns(widths[layer], rank, stream(f"init/{layer}", seed)) for layer in range(1, depth)]
    frames.append(u[:, :rank])
    return [frames[layer + 1] * per_layer @ frames[layer].mT for layer in range(depth)]
