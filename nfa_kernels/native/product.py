"""Which stacks compiled steps can move: products of matrices, by the rules and on the losses that are compiled."""

import ctypes
import functools
import logging
import math

import torch

from nfa_kernels.linear import LOSS_FACTORS
from nfa_kernels.native import compiling
from nfa_kernels.native.call import LOSSES, MOST_LAYERS, RULES, Steps
from nfa_kernels.networks import Architecture

log = logging.getLogger(__name__)


def compiled(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The compiled steps of weights of this dtype; None where there are none, which is said once."""
    return None if compiling.is_off() else _compiled(str(dtype).removeprefix("torch."))


@functools.cache
def _compiled(dtype: str) -> ctypes.CDLL | None:
    if dtype not in compiling.TYPES:
        return None
    try:
        return compiling.library(dtype)
    except compiling.NoLibrary as error:
        log.warning("linear networks train slower: %s", error)
    except OSError as error:
        log.warning("linear networks train slower: nothing can be compiled, %s", error)
    return None


def steps_of(architecture: Architecture, optimizer: str, loss: str, samples: int) -> Steps | None:
    """What a call says about training such networks; None where the code has no steps for them.

    Args:
        architecture: shared by the stack.
        optimizer: name of its rule.
        loss: name.
        samples: of one step.
    """
    is_known = optimizer in RULES and loss in LOSSES and architecture.depth <= MOST_LAYERS
    if not architecture.is_product or not is_known:
        return None
    each = 2 * LOSS_FACTORS[loss](architecture.widths[-1]) if loss in LOSS_FACTORS else 1.0
    return Steps(optimizer, loss, each / samples, math.prod(architecture.multipliers))
