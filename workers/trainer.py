"""The Ray actor around `training.train`: one process, one thread of torch, one stack at a time.

Trainers hold no credentials and know no database. Blocks go back through a streaming generator; an exception becomes
text inside the actor, because one that cannot be pickled would kill it.
"""

import ctypes
import os
import signal
import socket
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray

from workers.allocation import keep_freed_memory
from workers.blocks import Block, Stack

BACKPRESSURE = 8
"""Blocks a trainer may be ahead of its reader; a slow reader would lose every unread block of a dead trainer."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Broken:
    """Sent instead of a last block when training raised: what it was, and whether trying again can help."""

    error: str
    is_final: bool


class Trainer:
    """Trains stacks in a process of its own. `train` runs in one thread, the control methods in another."""

    def __init__(self) -> None:
        # a trainer must not outlive its node: the raylet is this process's parent
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        import torch  # noqa: PLC0415  (the dispatcher loads this module and has no use for torch)

        torch.set_num_threads(1)
        keep_freed_memory()
        self._torch = torch.__version__
        self._stopped: frozenset[int] = frozenset()

    def train(self, stack: Stack, block_seconds: float, checkpoint_seconds: float) -> Iterator[Block | Broken]:
        """Train a stack to its end; the last item is a block with `last` set, or Broken."""
        from workers.training import train  # noqa: PLC0415

        self._stopped = frozenset()
        try:
            yield from train(
                stack,
                "cpu",
                block_seconds=block_seconds,
                checkpoint_seconds=checkpoint_seconds,
                stopped=lambda: self._stopped,
            )
        except Exception as error:
            text = "".join(traceback.format_exception_only(error)).strip()
            yield Broken(text[:2000], is_final=isinstance(error, ValueError))

    @ray.method(concurrency_group="control")
    def describe(self) -> dict[str, Any]:
        """Where this trainer runs, for provenance and `GET /cluster`."""
        return {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "node": ray.get_runtime_context().get_node_id(),
            "torch": self._torch,
            "device": "cpu",
        }

    @ray.method(concurrency_group="control")
    def stop(self, lanes: frozenset[int]) -> None:
        """Drop these lanes of the running stack at the next opportunity."""
        self._stopped = self._stopped | lanes

    @ray.method(concurrency_group="control")
    def ping(self) -> bool:
        """Answered within milliseconds also while training."""
        return True


def start_trainer() -> Any:
    """A handle to a new trainer; never restarted by Ray, which would go on silently in an empty process."""
    options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {"control": 1}}
    return ray.remote(num_cpus=1, **options)(Trainer).remote()
