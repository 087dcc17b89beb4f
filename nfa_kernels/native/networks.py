"""The compiled code of this machine, and which products of matrices its steps move: rules and losses it knows."""

import ctypes
import functools
import logging

import torch

from nfa_kernels.native import compiling
from nfa_kernels.native.call import LOSSES, MOST_LAYERS, RULES, Steps, of_sample
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
        _tell(str(error))
    except OSError as error:
        _tell(f"nothing can be compiled, {error}")
    return None


_told: list[str] = []
"""Why nothing is compiled here, once it has been said."""


def _tell(why: str) -> None:
    """Once, whichever of the sources it is that cannot be compiled."""
    if not _told:
        log.warning("small networks train slower: %s", why)
        _told.append(why)


def steps_of(architecture: Architecture, optimizer: str, loss: str, samples: int) -> Steps | None:
    """What a call says about training such networks; None where they are no products, or unknown.

    Args:
        architecture: shared by the stack.
        optimizer: name of its rule.
        loss: name.
        samples: of one step.
    """
    is_known = optimizer in RULES and loss in LOSSES and architecture.depth <= MOST_LAYERS
    if not is_known or not architecture.is_product:
        return None
    return Steps(optimizer, loss, of_sample(loss, architecture.widths[-1], samples), architecture.multipliers)
