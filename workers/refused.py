"""Finds the lanes of a broken stack that fail by themselves: nobody else has to be tried again one by one."""

import time
import traceback
from dataclasses import replace
from typing import Final

import torch

from workers.blocks import Stack
from workers.training import prepare_alone

_PASSING: Final = (MemoryError, OSError, torch.OutOfMemoryError)
_TOO_LITTLE_MEMORY: Final = "allocate memory"
"""What torch says on a CPU, in a RuntimeError, when there is not enough."""


def is_passing(error: Exception) -> bool:
    """Whether an error says nothing about a lane: elsewhere, or later, it may not come."""
    return isinstance(error, _PASSING) or (isinstance(error, RuntimeError) and _TOO_LITTLE_MEMORY in str(error))


def refused_lanes(stack: Stack, device: str, seconds: float) -> dict[int, str]:
    """Lane -> error, of lanes that fail before their first step, as far as there is time to look.

    Args:
        stack: that raised before any of its lanes had done a step.
        device: a torch device.
        seconds: for looking; lanes that were not reached are left out.
    """
    found, until = dict[int, str](), time.monotonic() + seconds
    for number, lane in enumerate(stack.lanes):
        if time.monotonic() > until:
            break
        try:
            prepare_alone(replace(stack, lanes=(lane,)), device)
        except Exception as error:
            if is_passing(error):
                break
            found[number] = text_of(error)
    return found


def text_of(error: Exception) -> str:
    """What is said of an exception."""
    return "".join(traceback.format_exception_only(error)).strip()[:2000]
