"""Steps by the tensor library: the gradient on the whole set or on a minibatch, then the update rule."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfa_kernels.networks import Params
from workers.training_data import Data
from workers.updates import Updates

Moving = tuple[Params, tuple[Any, ...]]
"""What steps move: weights, and the update rule's state of every group."""


class Coming(NamedTuple):
    """What some steps read beside what they move."""

    count: int
    """Of steps."""
    paces: Sequence[float | Tensor] | None
    """Factor on the learning rates at each step, a number or (K, 1, 1); None: 1 at all steps of the stack."""
    rows: Tensor | None
    """(steps, K, size) of each step's minibatch; None without minibatches."""

    def pace(self, place: int) -> float | Tensor:
        """Of one of the steps."""
        return 1.0 if self.paces is None else self.paces[place]

    def rows_at(self, place: int) -> Tensor | None:
        """(K, size) of one of the steps."""
        return None if self.rows is None else self.rows[place]


class Steps:
    """Makes steps; what moves is given to it and answered.

    Args:
        data: what the gradients are taken on.
        updates: the rule and its numbers.
        is_wide: whether weights are float64 beside gradients in another dtype.
    """

    def __init__(self, data: Data, updates: Updates, *, is_wide: bool) -> None:
        self._data, self._updates, self._is_wide = data, updates, is_wide

    def moved(self, moving: Moving, pace: float | Tensor, rows: Tensor | None = None) -> Moving:
        """After one step; weights may be written over, states are not.

        Args:
            moving: before it.
            pace: factor on the learning rates, a number or (K, 1, 1).
            rows: (K, size) of its minibatch, if these have been drawn; else the next are drawn.
        """
        (weights, states), groups = moving, self._updates.paced(pace)
        computed = tuple(weight.to(self._data.dtype) for weight in weights) if self._is_wide else weights
        rate = self._updates.thin_rate(groups, computed)
        thin = None if rate is None else self._data.factored(computed, rate, rows)
        if thin is not None:
            return self._updates.step_factored(weights, states, thin, groups)
        found = self._data.gradients(computed, rows)
        if self._is_wide:
            found = tuple(gradient.to(torch.float64) for gradient in found)
        return self._updates.step(weights, states, found, groups)
