"""What to do with a stack whose trainer died or raised, or whose node was lost. Pure."""

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

ALONE_CRASHES = 3
"""A trial that takes its trainer down this often while alone ends failed."""


INTERRUPTIONS = 10
"""A trial whose node was lost more often than this ends failed, uncharged."""


class Decision(NamedTuple):
    """How to go on: which parts to try again, and the error with which the trial ends if it must."""

    parts: tuple[tuple[int, ...], ...]
    """Lanes of the stack, split into the stacks to try next; empty: do not try again."""
    is_charged: bool
    """Whether the failure counts against the trial: only when it was alone."""


def after_failure(lanes: Sequence[int], crashes_alone: int, is_final: bool) -> Decision:
    """Split a failed stack in two, so that a culprit among 64 is alone after six failures; judge a lane that is alone.

    Args:
        lanes: the lanes that were still running.
        crashes_alone: how often this lane failed alone before; read only if it is alone now.
        is_final: the failure is an error of the trial itself, which trying again cannot help.
    """
    if len(lanes) > 1:
        half = (len(lanes) + 1) // 2
        return Decision((tuple(lanes[:half]), tuple(lanes[half:])), is_charged=False)
    if is_final or crashes_alone + 1 >= ALONE_CRASHES:
        return Decision((), is_charged=True)
    return Decision((tuple(lanes),), is_charged=True)


def backoff_seconds(failures: int, jitter: float | None = None) -> float:
    """Seconds to wait before trial number failures + 1: 1, 2, 4, .. at most 60, +-20 %."""
    spread = random.uniform(0.8, 1.2) if jitter is None else jitter
    return min(60.0, 2.0 ** min(failures, 6)) * spread
