"""a + b modulo p: all p^2 pairs, a share of which is trained on, the others held out; p one-hot outputs.

Which pairs are trained on is drawn from the stream `data`. Inputs are two one-hot rows side by side, (N, 2 p), or the
tokens a, b, (N, 2), and with a sign behind them a, b, p, (N, 3).
Source: Power et al. 2022, arXiv:2201.02177; for features and AGOP, Mallinar et al. 2024, arXiv:2407.20199.
"""

import torch
from torch.nn.functional import one_hot

from nfa_kernels.data.dataset import Data, split
from nfa_kernels.names import ENCODINGS, share
from nfa_kernels.random_streams import stream


def modular_addition(
    seed: int, modulus: int = 31, fraction: float = 0.5, encoding: str = "one_hot", equals_sign: bool = False
) -> Data:
    """Pairs and their sums.

    Args:
        seed: says which pairs are trained on.
        modulus: p >= 2.
        fraction: of the pairs to train on, 0 < fraction <= 1.
        encoding: one_hot or tokens.
        equals_sign: tokens: whether a third one, p, follows the pair.
    Raises:
        ValueError: a modulus below 2, no pair to train on, or an unknown encoding.
    """
    pairs = modulus**2
    if modulus < 2:
        raise ValueError(f"modulus: received {modulus}, allowed are whole numbers >= 2")
    if not (0 < fraction <= 1 and share(pairs, fraction)):
        raise ValueError(f"fraction: received {fraction}, allowed are numbers in (0, 1] with a pair of {pairs} or more")
    if encoding not in ENCODINGS:
        raise ValueError(f"encoding: received {encoding!r}, allowed are {', '.join(ENCODINGS)}")
    order = torch.randperm(pairs, generator=stream("data", seed))
    tokens = torch.stack([order // modulus, order % modulus], 1)
    y = one_hot(tokens.sum(1) % modulus, modulus).to(torch.float64)
    if encoding == "one_hot":
        x = one_hot(tokens, modulus).flatten(1).to(torch.float64)
    else:
        x = torch.cat([tokens, torch.full((pairs, int(equals_sign)), modulus)], 1)
    samples = share(pairs, fraction)
    return split(x, y, torch.arange(pairs), samples, pairs - samples)
