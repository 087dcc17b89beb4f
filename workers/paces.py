"""Factors on the learning rates of a stack, whose networks may have schedules of their own.

Networks with one schedule share one number, computed as it is for a network alone: a vectorised cosine would depend, in
its last bit, on a network's place in the stack.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfa_kernels.schedules import factor


class _Plan(NamedTuple):
    """Arguments of `factor`, but for the step."""

    schedule: str
    steps: int
    length: int
    drop: float


class Paces:
    """The schedules of a stack's networks, and for each the sum of its factors so far.

    Args:
        lanes: canonical `training` settings of every network.
    """

    def __init__(self, lanes: Sequence[Mapping[str, Any]]) -> None:
        plans = [_plan(training) for training in lanes]
        self._plans = list(dict.fromkeys(plans))
        numbers = {plan: number for number, plan in enumerate(self._plans)}
        self._which = torch.tensor([numbers[plan] for plan in plans])
        self._sums = [0.0] * len(self._plans)
        self.is_constant = all(plan.schedule == "constant" for plan in self._plans)

    def next(self, step: int) -> float | Tensor:
        """Factor of update number `step` from 0, counted into the sums: one number, or (K, 1, 1) in float64."""
        if self.is_constant:  # and so there is one plan
            self._sums[0] += 1.0
            return 1.0
        now = [factor(plan.schedule, step, plan.steps, plan.length, plan.drop) for plan in self._plans]
        self._sums = [total + one for total, one in zip(self._sums, now, strict=True)]
        return now[0] if len(now) == 1 else self._spread(now).view(-1, 1, 1)

    def several(self, first: int, count: int) -> list[float | Tensor]:
        """Factors of so many updates, from one of this number, counted into the sums."""
        if self.is_constant:
            self._sums[0] += count
            return [1.0] * count
        return [self.next(step) for step in range(first, first + count)]

    @property
    def sums(self) -> Tensor:
        """(K,) sum of the factors so far, float64, on the CPU."""
        return self._spread(self._sums)

    def restore(self, sums: Tensor) -> None:
        """Go on from sums (K,); networks with one schedule have the same."""
        at = self._which.tolist()
        for place, total in enumerate(sums.tolist()):
            self._sums[at[place]] = total

    def keep(self, index: Tensor) -> None:
        """Keep the networks at these places, and of the schedules those that they have."""
        left, self._which = self._which[index.cpu()].unique(return_inverse=True)
        self._plans = [self._plans[number] for number in left.tolist()]
        self._sums = [self._sums[number] for number in left.tolist()]

    def _spread(self, values: list[float]) -> Tensor:
        if len(values) == 1:
            return torch.full(self._which.shape, values[0], dtype=torch.float64)
        return torch.tensor(values, dtype=torch.float64)[self._which]


def _plan(training: Mapping[str, Any]) -> _Plan:
    """A network's schedule; constant ones are the same whatever their number of steps."""
    schedule = training["schedule"]
    steps = 0 if schedule != "cosine" else training["steps"]
    return _Plan(schedule, steps, training.get("schedule_steps", 1), training.get("schedule_factor", 1.0))
