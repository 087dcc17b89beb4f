"""Images whose targets depend on few directions of their patches: a convolutional teacher with a known patch subspace.

x is (c, s, s) of independent N(0, 1). With U (c k k, r) of Haar orthonormal columns, the filters, and the patches p of
k x k pixels at the P = (s - k + 1)^2 positions, y = B a / sqrt(r) + noise E with a_j the pooled link(u_j . p): sum /
sqrt(P), mean, or max over positions; B (C, r) is Gaussian. What a patch is projected on is N(0, I), so that at any
position the link has the moments it has in index models; the average of the outer products of df/dp has the range of U.
Streams: `data` for the images, `teacher` for U and B, `noise`, and `test` for everything held out.
Source: after the multi-index models of index_models.py and the patch AGOP of Beaglehole et al. 2023, arXiv:2309.00570.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import unfold

from nfa_kernels.data.dataset import Data
from nfa_kernels.data.index_models import link_function
from nfa_kernels.random_streams import haar_columns, normal, stream

POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda values: values.sum(-1) / values.shape[-1] ** 0.5,
    "mean": lambda values: values.mean(-1),
    "max": lambda values: values.amax(-1),
}
"""From (N, r, P) to (N, r)."""
_BLOCK_NUMBERS = 1 << 23
"""Of patches at a time: every pixel is in k k of them."""


def conv_teacher(
    seed: int,
    samples: int = 200,
    channels: int = 1,
    size: int = 8,
    patch: int = 3,
    filters: int = 2,
    pooling: str = "sum",
    link: str = "hermite2",
    outputs: int = 4,
    noise: float = 0.1,
    test_samples: int = 0,
) -> Data:
    """Images (N, c, s, s) and targets (N, C).

    Raises:
        ValueError: no samples, a patch larger than the image, more filters than a patch has numbers, or an unknown
            link or pooling.
    """
    if samples < 1:
        raise ValueError(f"samples: received {samples}, at least 1 is needed")
    if not 1 <= patch <= size:
        raise ValueError(f"patch: received {patch}, allowed are 1 .. size = {size}")
    if pooling not in POOLINGS:
        raise ValueError(f"pooling: received {pooling!r}, allowed are {', '.join(POOLINGS)}")
    bank, mixing = teacher(seed, channels, patch, filters, outputs)
    function, pooled = link_function(link), POOLINGS[pooling]

    def target(images: Tensor) -> Tensor:
        rows = max(1, _BLOCK_NUMBERS // (bank.shape[0] * (size - patch + 1) ** 2))
        found = [pooled(function(bank.mT @ unfold(some, patch))) @ mixing.mT for some in images.split(rows)]
        return torch.cat(found)

    x = normal((samples, channels, size, size), stream("data", seed))
    y = target(x) + noise * normal((samples, outputs), stream("noise", seed))
    generator = stream("test", seed)
    x_test = normal((test_samples, channels, size, size), generator)
    return Data(x, y, x_test, target(x_test) + noise * normal((test_samples, outputs), generator))


def teacher(seed: int, channels: int, patch: int, filters: int, outputs: int) -> tuple[Tensor, Tensor]:
    """The filters U (c k k, r), a patch's channels first, then rows, then columns, and B / sqrt(r) (C, r).

    Raises:
        ValueError: more filters than a patch has numbers.
    """
    numbers = channels * patch**2
    if not 1 <= filters <= numbers:
        raise ValueError(f"filters: received {filters}, allowed are 1 .. channels patch^2 = {numbers}")
    generator = stream("teacher", seed)
    bank = haar_columns(numbers, filters, generator)
    return bank, normal((outputs, filters), generator) / filters**0.5
