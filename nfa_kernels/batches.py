"""Which samples each minibatch step uses, per network.

shuffle: a fresh permutation per epoch from the stream `batches` of the trial's seed; step t uses entries t b .. t b +
b - 1 of the concatenated permutations, so no sample is left out. cyclic: rows t b .. t b + b - 1 modulo N.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nfa_kernels.random_streams import stream


class Batches:
    """Row numbers of successive minibatches for the lanes of a stack."""

    def __init__(self, seeds: Sequence[int], samples: int, size: int, order: str) -> None:
        if not 1 <= size <= samples:
            raise ValueError(f"size: received {size}, allowed are 1 .. {samples} samples")
        if order not in ("shuffle", "cyclic"):
            raise ValueError(f"order: received {order!r}, allowed are shuffle, cyclic")
        self.samples, self.size, self.order = samples, size, order
        self.generators = [stream("batches", seed) for seed in seeds]
        self.position = 0
        self.waiting = torch.empty((len(seeds), 0), dtype=torch.long)

    def next(self) -> Tensor:
        """(K, size) row numbers of the next step, on the CPU."""
        start, self.position = self.position, self.position + self.size
        if self.order == "cyclic":
            rows = torch.arange(start, start + self.size) % self.samples
            return rows.expand(len(self.generators), -1)
        if self.waiting.shape[1] < self.size:
            epoch = torch.stack([torch.randperm(self.samples, generator=g) for g in self.generators])
            self.waiting = torch.cat([self.waiting, epoch], 1)
        taken, self.waiting = self.waiting[:, : self.size], self.waiting[:, self.size :]
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
        for generator, at in zip(self.generators, state["generators"].cpu(), strict=True):
            generator.set_state(at.clone())

    def select(self, lanes: Tensor) -> None:
        """Keep some lanes."""
        self.generators = [self.generators[lane] for lane in lanes.tolist()]
        self.waiting = self.waiting[lanes]
