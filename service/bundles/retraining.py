"""The process that trains trials of a bundle again: it takes seconds until it can, so that it is begun before."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.errors import InvalidBundle


class Retraining:
    """A process of its own, since this one imports no torch; it trains once what it is asked for, and ends."""

    def __init__(self) -> None:
        # as every trainer: small networks are trained by one thread, and its arithmetic is the same bit for bit
        environment = {"OMP_NUM_THREADS": "1"} | dict(os.environ)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workers.retrain"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def train(
        self, stacks: Sequence[Sequence[Mapping[str, Any]]], datasets: Mapping[str, str], answer: Path
    ) -> Mapping[str, Any]:
        """Have trials trained; see workers.retrain for what it is asked and answers.

        Args:
            stacks: members of each, with trial, settings and seed.
            datasets: files of uploads by their ids.
            answer: where every row goes.
        Returns:
            How each trial ended: state and step.
        Raises:
            InvalidBundle: it failed; its last words are told.
        """
        request = json.dumps({"stacks": stacks, "datasets": datasets, "answer": str(answer)})
        told, errors = self._process.communicate(request)
        if self._process.returncode:
            last = errors.strip().splitlines()[-1:] or [f"exit code {self._process.returncode}"]
            raise InvalidBundle(f"its trials could not be trained again: {last[0][:300]}")
        return json.loads(told)

    def end(self) -> None:
        """End it, whether it was asked for anything or not."""
        with self._process:
            self._process.kill()


@contextlib.contextmanager
def retraining() -> Generator[Retraining]:
    """The process, for as long as the block runs."""
    begun = Retraining()
    try:
        yield begun
    finally:
        begun.end()
