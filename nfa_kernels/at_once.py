"""How many networks of a stack are passed at once: on a CPU what its cache holds, elsewhere all or what a block holds.

A core is fastest where its arrays stay in the cache. Any other device is fastest where its arrays are large: what it
does for one network it does for thousands in hardly more time, and what is launched once for each cacheful is waited
for. So a step there is one sequence of launches whatever the stack. What is measured takes more memory than a step, and
comes in blocks of `DEVICE_BYTES`. How many samples are taken at once is no matter of the device: rounding follows from
it, and the network alone decides.
"""

import torch
from torch import Tensor

from nfa_kernels.cost import DEVICE_BYTES


def is_cached(like: Tensor) -> bool:
    """Whether arrays lie where a cache is between them and the arithmetic: on a CPU."""
    return like.device.type == "cpu"


def lanes_in_step(like: Tensor, lane_bytes: int, cached_bytes: int) -> int:
    """Networks that take a step together.

    Args:
        like: (K, ..) an array of the stack.
        lane_bytes: of one network's activations.
        cached_bytes: of activations that a core's cache holds.
    """
    return max(1, cached_bytes // lane_bytes) if is_cached(like) else max(1, len(like))


def lanes_in_block(like: Tensor, lane_bytes: int, cached_bytes: int) -> int:
    """Networks that are measured together; arguments as above."""
    return max(1, (cached_bytes if is_cached(like) else max(cached_bytes, DEVICE_BYTES)) // lane_bytes)


def sent(array: Tensor, device: torch.device) -> Tensor:
    """The array on a device; to CUDA from memory that it reads by itself, so that nobody waits for the copy."""
    if device.type == "cuda":
        return array.pin_memory().to(device, non_blocking=True)
    return array.to(device)
