"""Which networks of a stack have diverged or collapsed."""

import torch
from torch import Tensor

from nfa_kernels.collapse import has_collapsed
from nfa_kernels.losses import loss_of
from nfa_kernels.measured_data import MeasuredData
from nfa_kernels.networks import Params
from nfa_kernels.shared import repeated
from workers.networks import Network

EXPLODES_TIMES = 1e6
"""A loss this many times above both the initial loss and the zero function's has diverged."""
CHECK_ROWS = 128
"""Samples that divergence is looked for on between measured points: all of them may cost more than the steps."""


class Health:
    """What networks are held against.

    Args:
        network: of the stack.
        loss: name of the one that it trains on.
        weights: initial parameters.
        data: that it is measured on.
        x: (K, N, ..) inputs that it trains on, in its dtype.
        y: (K, N, C) targets as the loss reads them.
    """

    def __init__(self, network: Network, loss: str, weights: Params, data: MeasuredData, x: Tensor, y: Tensor) -> None:
        self._network, self._loss, self._dtype = network, loss_of(loss), x.dtype
        first = self._losses(weights, data.x, data.y)
        # an initial loss that is no number says nothing about what follows
        self._explodes_at = EXPLODES_TIMES * torch.maximum(first.nan_to_num(0.0, 0.0), data.zero_loss)
        self._size_at_first = network.log_size(weights)
        if network.is_compressed(loss):
            self._x, self._y = data.x, data.y
        else:
            self._x, self._y = x[:, :CHECK_ROWS].clone(), y[:, :CHECK_ROWS].to(torch.float64)

    def losses(self, weights: Params, times: int = 1) -> Tensor:
        """(S K,) what divergence is looked for on: losses of all, or on the first samples.

        Args:
            weights: of the whole stack so many times, one round after the other.
            times: S.
        """
        return self._losses(weights, repeated(self._x, times), repeated(self._y, times))

    def judged(self, losses: Tensor, weights: Params, index: Tensor | slice = slice(None)) -> list[list[list[bool]]]:
        """Whether losses are numbers and have not exploded; and whether networks have collapsed.

        Args:
            losses: (S, K) of the networks at these places of the stack, S times.
            weights: theirs, S K.
            index: places.
        """
        gone = has_collapsed(self._network.log_size(weights).view_as(losses), self._size_at_first[index], self._dtype)
        return torch.stack([losses.isfinite() & (losses <= self._explodes_at[index]), gone]).tolist()

    def _losses(self, weights: Params, x: Tensor, y: Tensor) -> Tensor:
        """Of outputs that are computed in the dtype of x, in float64."""
        outputs = self._network.forward(tuple(weight.to(x.dtype) for weight in weights), x)
        return self._loss.value(outputs.double(), y)

    def keep(self, index: Tensor) -> None:
        """Keep the networks at these places."""
        self._explodes_at, self._size_at_first = self._explodes_at[index], self._size_at_first[index]
        self._x, self._y = self._x[index], self._y[index]
