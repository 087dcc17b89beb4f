"""Whether networks have collapsed: decayed towards zero so far that their arithmetic underflows.

A collapsed network computes zero and stays there, and its denormal numbers cost a hundred times as much as others, for
every network of its stack. A network that begins at tiny weights has not collapsed: near the saddle at zero it may
still grow.
"""

import math

import torch
from torch import Tensor

from nfa_kernels.native.metrics import largest_entries
from nfa_kernels.networks import Params

SHRUNK = 1e-6
"""The product of the layers' sizes below this share of what it was at first: it shrinks, and leaves no saddle."""


def log_size(weights: Params) -> Tensor:
    """(K,) log of the product over layers of each layer's largest entry, float64; -inf where a layer is zero."""
    largest = largest_entries(weights)
    if largest is None:
        largest = torch.stack([weight.abs().flatten(1).amax(1).to(torch.float64) for weight in weights])
    return largest.log().sum(0)


def has_collapsed(size: Tensor, at_first: Tensor, dtype: torch.dtype) -> Tensor:
    """(K,) whether networks have collapsed.

    Args:
        size: (K,) `log_size` of the weights now.
        at_first: (K,) and at initialisation.
        dtype: of the passes: the product of the layers underflows below its smallest normal number.
    """
    underflows = size < math.log(torch.finfo(dtype).tiny)
    return underflows & (size < at_first + math.log(SHRUNK))
