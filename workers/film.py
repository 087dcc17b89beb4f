"""A stack as it was at several looks that it has moved through in one go."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nfa_kernels.metrics import Measured
from nfa_kernels.networks import Params
from workers.looks import End, Look, points_and_checks


class Film:
    """Weights and times of K networks at S looks.

    Args:
        looks: of which some are at points, where networks are measured.
        frames: (S, K, ..) weights at the looks in this `order`.
        times: (S, K) in the order of the looks.
    """

    def __init__(self, looks: Sequence[Look], frames: Params, times: Tensor) -> None:
        self.looks, self.times, self._frames = looks, times, frames
        self.points, self.checks = points_and_checks(looks)

    @property
    def weights(self) -> Params:
        """(S K, ..) at the points, then at the checks."""
        return tuple(array.flatten(0, 1) for array in self._frames)

    @property
    def at_points(self) -> Params:
        """(P K, ..) one point after the other."""
        return tuple(array[: len(self.points)].flatten(0, 1) for array in self._frames)

    @property
    def at_checks(self) -> Params:
        """(C K, ..) one check after the other."""
        return tuple(array[len(self.points) :].flatten(0, 1) for array in self._frames)

    def at_check(self, number: int, index: Tensor | slice) -> Params:
        """(R, ..) of the networks at these places, at a check by its number among the checks."""
        return tuple(array[len(self.points) + number][index] for array in self._frames)

    def by_look(self, found: Sequence[list[bool]]) -> list[list[bool]]:
        """By look, of what was found at the points, then at the checks."""
        return [of_look for _, of_look in sorted(zip((*self.points, *self.checks), found, strict=True))]

    def rows(self, measured: Measured, ends: Mapping[int, End]) -> tuple[list[int], list[int], Tensor, Measured]:
        """Places, steps, times and values (R,) of what was measured up to where networks end.

        Args:
            measured: (P K,) at the points, one after the other.
            ends: by place.
        """
        lanes, times = self.times.shape[1], self.times[self.points].flatten()
        steps = [self.looks[at].step for at in self.points for _ in range(lanes)]
        if all(end.look >= self.points[-1] for end in ends.values()):
            return [*range(lanes)] * len(self.points), steps, times, measured
        last = [ends[place].look if place in ends else len(self.looks) for place in range(lanes)]
        rows = [row for row in range(len(steps)) if self.points[row // lanes] <= last[row % lanes]]
        index = torch.tensor(rows, dtype=torch.long, device=times.device)
        return [row % lanes for row in rows], [steps[row] for row in rows], times[index], measured.select(index)
