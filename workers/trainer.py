"""The Ray actor around `training.train`: one process, one thread of torch, one stack after the other.

Trainers hold no credentials and know no database. Blocks go back through a streaming generator; an exception becomes
text inside the actor, because one that cannot be pickled would kill it.
"""

import ctypes
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import ray

from service.starting import importing
from workers import gpu
from workers.allocation import keep_freed_memory
from workers.blocks import Block, Broken, Stack, Told
from workers.processor import processor_name

BACKPRESSURE = 8
"""Blocks a trainer may be ahead of its reader; a slow reader would lose every unread block of a dead trainer."""
_PR_SET_PDEATHSIG = 1
_SEARCH_SECONDS = 10.0
"""For finding the lanes of a broken stack that fail by themselves."""
_NICENESS = 10
"""Questions, and whoever else works at the machine, come before training; where nobody asks it costs nothing."""


class Trainer:
    """Trains stacks in a process of its own. `train` runs in one thread, the control methods in another.

    Args:
        share: of a GPU's memory; 0 for a trainer without one.
    """

    def __init__(self, share: float) -> None:
        # a trainer must not outlive its node: the raylet is this process's parent
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
        with importing(at_start=True):
            import torch  # noqa: PLC0415  (the dispatcher loads this module and has no use for torch)

        torch.set_num_threads(1)
        keep_freed_memory()
        self._torch = torch.__version__
        self._share = share
        self._device = "cuda" if share else "cpu"
        self._refusal = gpu.refusal(torch.cuda.is_available(), torch.version.cuda) if share else None
        self._stopped: dict[int, frozenset[int]] = {}

    def train(
        self, stacks: Sequence[Stack], block_seconds: float, checkpoint_seconds: float
    ) -> Iterator[tuple[Told, ...]]:
        """Train stacks one after the other, each to its end, or measure their kept weights.

        Yields:
            What there is to tell, of several stacks where they end shortly after each other; the last that is told of
            each is a block with `last`, or Broken.
        """
        self._stopped = {}
        waiting, sent = list[Told](), time.monotonic()
        for place, stack in enumerate(stacks):
            began = time.monotonic()
            for what in self._trained(place, stack, block_seconds, checkpoint_seconds):
                now = time.monotonic()
                waiting.append(Told(place, now - began, what))
                may_wait = isinstance(what, Block) and what.last and not (what.weights or what.states)
                if not may_wait or place == len(stacks) - 1 or now - sent > block_seconds:
                    yield tuple(waiting)
                    waiting, sent = [], time.monotonic()

    def _trained(
        self, place: int, stack: Stack, block_seconds: float, checkpoint_seconds: float
    ) -> Iterator[Block | Broken]:
        with importing():
            from workers.checkpoints import CheckpointError  # noqa: PLC0415
            from workers.refused import is_passing, refused_lanes, text_of  # noqa: PLC0415
            from workers.remeasuring import remeasure  # noqa: PLC0415
            from workers.training import train  # noqa: PLC0415

        def stopped() -> frozenset[int]:
            return self._stopped.get(place, frozenset())

        if self._refusal:
            yield Broken(self._refusal)
            return
        has_begun = False
        try:
            if stack.again is not None:
                yield from remeasure(stack, self._device, stopped=stopped)
                return
            for block in train(
                stack,
                self._device,
                block_seconds=block_seconds,
                checkpoint_seconds=checkpoint_seconds,
                stopped=stopped,
            ):
                has_begun = True
                yield block
        except CheckpointError as error:
            yield Broken(text_of(error), is_checkpoint=True)
        except Exception as error:
            # raised by a process that lives: what is computed again from the same seed raises again
            is_final = not is_passing(error)
            is_searched = is_final and not has_begun and len(stack.lanes) > 1
            refused = refused_lanes(stack, self._device, _SEARCH_SECONDS) if is_searched else {}
            yield Broken(text_of(error), is_final=is_final, refused=refused)
        finally:
            if self._share:
                # of a stack that is over, and of one for which there was too little
                gpu.free_cached()

    @ray.method(concurrency_group="control")
    def describe(self) -> dict[str, Any]:
        """Where this trainer runs, for provenance and `GET /cluster`."""
        about: dict[str, Any] = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "node": ray.get_runtime_context().get_node_id(),
            "torch": self._torch,
            "device": self._device,
            "processor": processor_name(),
            "memory_bytes": None,
        }
        if self._refusal:
            return about | {"error": self._refusal}
        return about | gpu.described(gpu.this_card(), self._share) if self._share else about

    @ray.method(concurrency_group="control")
    def stop(self, place: int, lanes: frozenset[int]) -> None:
        """Drop these lanes of the stack with that place at the next opportunity."""
        self._stopped[place] = self._stopped.get(place, frozenset()) | lanes

    @ray.method(concurrency_group="control")
    def ping(self) -> bool:
        """Answered within milliseconds also while training."""
        return True


def start_trainer(share: float = 0.0) -> Any:
    """A handle to a new trainer; never restarted by Ray, which would go on silently in an empty process.

    Args:
        share: of a GPU, which it takes beside its CPU.
    """
    options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {"control": 1}}
    return ray.remote(num_cpus=1, num_gpus=share, **options)(Trainer).remote(share)
