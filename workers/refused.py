"""Finds the lanes of a broken stack that fail by themselves: nobody else has to be tried again one by one."""

import time
import traceback
from dataclasses import replace

import torch

from workers.blocks import Stack
from workers.training import prepare_alone

PASSING: tuple[type[Exception], ...] = (MemoryError, OSError, torch.OutOfMemoryError)
"""Errors that say nothing about a lane: elsewhere, or later, they may not come."""


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
        except PASSING:
            break
        except Exception as error:
            found[number] = text_of(error)
    return found


def text_of(error: Exception) -> str:
    """What is said of an exception."""
    return "".join(traceback.format_exception_only(error)).strip()[:2000]
