"""Which stacks compiled steps can move, by the rules and on the losses that are compiled.

Products of matrices, and small networks that are linear but for biases or a kink at zero.
"""

import ctypes
import functools
import logging

import torch

from nfa_kernels.linear import LOSS_FACTORS
from nfa_kernels.names import COMPILED_WIDEST
from nfa_kernels.native import compiling
from nfa_kernels.native.call import LOSSES, MOST_LAYERS, RULES, Steps
from nfa_kernels.networks import Architecture

log = logging.getLogger(__name__)


def compiled(dtype: torch.dtype, source: str = "fused") -> ctypes.CDLL | None:
    """The compiled steps of weights of this dtype; None where there are none, which is said once."""
    return None if compiling.is_off() else _compiled(str(dtype).removeprefix("torch."), source)


@functools.cache
def _compiled(dtype: str, source: str) -> ctypes.CDLL | None:
    if dtype not in compiling.TYPES:
        return None
    try:
        return compiling.library(dtype, source)
    except compiling.NoLibrary as error:
        log.warning("small networks train slower: %s", error)
    except OSError as error:
        log.warning("small networks train slower: nothing can be compiled, %s", error)
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
    slope = _slope(architecture)
    is_product = architecture.is_product
    if not is_known or not (is_product or ((architecture.is_linear or slope is not None) and _is_small(architecture))):
        return None
    each = 2 * LOSS_FACTORS[loss](architecture.widths[-1]) if loss in LOSS_FACTORS else 1.0
    return Steps(optimizer, loss, each / samples, architecture.multipliers, is_product, architecture.bias, slope)


def _slope(architecture: Architecture) -> float | None:
    """Below zero, of an activation that is the identity above zero and no more than it below; None for others."""
    if architecture.is_linear:
        return None
    slopes = {"relu": 0.0, "leaky_relu": architecture.slope}
    slope = slopes.get(architecture.activation)
    return slope if slope is not None and slope >= 0 else None


def _is_small(architecture: Architecture) -> bool:
    """Whether no layer is so wide that the tensor library's products are as fast."""
    return max(architecture.widths) <= COMPILED_WIDEST
