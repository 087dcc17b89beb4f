"""Which samples each minibatch step uses, per network.

shuffle: a fresh permutation per epoch from the stream `batches` of the trial's seed; step t uses entries t b .. t b +
b - 1 of the concatenated permutations, so no sample is left out. cyclic: rows t b .. t b + b - 1 modulo N.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nfa_kernels.at_once import sent
from nfa_kernels.random_streams import stream


class Batches:
    """Row numbers of successive minibatches for the lanes of a stack.

    Args:
        seeds: of the trials.
        samples: N.
        size: of a minibatch.
        order: shuffle or cyclic.
        device: where the numbers are wanted. They are drawn on the CPU, and an epoch's go to it in one copy.
    """

    def __init__(
        self, seeds: Sequence[int], samples: int, size: int, order: str, device: torch.device | None = None
    ) -> None:
        if not 1 <= size <= samples:
            raise ValueError(f"size: received {size}, allowed are 1 .. {samples} samples")
        if order not in ("shuffle", "cyclic"):
            raise ValueError(f"order: received {order!r}, allowed are shuffle, cyclic")
        self.samples, self.size, self.order = samples, size, order
        self.generators = [stream("batches", seed) for seed in seeds]
        self.position = 0
        self._device = device or torch.device("cpu")
        self.waiting = torch.empty((len(seeds), 0), dtype=torch.long)
        self._sent = sent(self.waiting, self._device)

    def next(self) -> Tensor:
        """(K, size) row numbers of the next step, on the device."""
        start, self.position = self.position, self.position + self.size
        if self.order == "cyclic":
            rows = torch.arange(start, start + self.size, device=self._device) % self.samples
            return rows.expand(len(self.generators), -1)
        if self.waiting.shape[1] < self.size:
            self._draw(1)
        return self._taken(self.size)

    def several(self, steps: int) -> Tensor:
        """(steps, K, size) what `next` would answer so many times."""
        start, self.position = self.position, self.position + steps * self.size
        if self.order == "cyclic":
            rows = torch.arange(start, self.position, device=self._device) % self.samples
            return rows.view(steps, 1, self.size).expand(-1, len(self.generators), -1)
        needed = steps * self.size
        self._draw(-(-(needed - self.waiting.shape[1]) // self.samples))
        return self._taken(needed).unflatten(1, (steps, self.size)).transpose(0, 1)

    def _draw(self, epochs: int) -> None:
        """Put so many epochs behind what waits, in one copy."""
        if epochs > 0:
            drawn = [
                torch.stack([torch.randperm(self.samples, generator=g) for g in self.generators]) for _ in range(epochs)
            ]
            self.waiting = torch.cat([self.waiting, *drawn], 1)
            self._sent = sent(self.waiting, self._device)

    def _taken(self, count: int) -> Tensor:
        """(K, count) row numbers from the front of what waits."""
        taken, self._sent = self._sent[:, :count], self._sent[:, count:]
        self.waiting = self.waiting[:, count:]
        return taken

    def state(self) -> dict[str, Tensor]:
        """Where the batches are, as tensors with one entry per lane."""
        return {
            "position": torch.full((len(self.generators),), self.position),
            "waiting": self.waiting,
            "generators": torch.stack([generator.get_state() for generator in self.generators]),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` answered."""
        # drawn on the CPU wherever the networks are
        self.position, self.waiting = int(state["position"][0]), state["waiting"].cpu()
        self._sent = sent(self.waiting, self._device)
        for generator, at in zip(self.generators, state["generators"].cpu(), strict=True):
            generator.set_state(at.clone())

    def select(self, lanes: Tensor) -> None:
        """Keep some lanes."""
        self.generators = [self.generators[lane] for lane in lanes.tolist()]
        self.waiting, self._sent = self.waiting[lanes], self._sent[lanes.to(self._device)]
