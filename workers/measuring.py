"""What the running networks of a stack are measured with."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nfa_kernels.metrics import Measured, Request, needs_initial
from nfa_kernels.networks import Params
from nfa_kernels.shared import repeated
from workers.blocks import Stack
from workers.network_data import Point
from workers.other_inputs import OtherInputs, with_others
from workers.preparing import Prepared


class Measuring:
    """Measures networks, all of a stack or some, as they are or as they were at several looks.

    Args:
        stack: with the arrays of uploads that are named.
        ready: its networks and data.
        settings: canonical, of any lane.
        initial: parameters before the first step.
        weight_decay: (K, L) of every measured layer.
    """

    def __init__(
        self, stack: Stack, ready: Prepared, settings: Mapping[str, Any], initial: Params, weight_decay: Tensor
    ) -> None:
        asked = settings["measure"]
        self.request = Request(tuple(asked["metrics"]), tuple(asked["layers"]), tuple(asked.get("exponents", ())))
        self.data, self._network, self._loss = ready.data, ready.network, settings["training"]["loss"]
        self._others = OtherInputs(stack, asked.get("inputs", ()), ready.network, ready.data, ready.form, ready.x_test)
        self._initial = tuple(w.clone() for w in initial) if needs_initial(self.request.metrics) else None
        self._weight_decay = weight_decay

    @property
    def lane_bytes(self) -> int:
        """Of the data of one network, also where all have the same: passes over them take as much for each."""
        return sum(array.nbytes for array in self.data) // len(self._weight_decay)

    def of(self, weights: Params, index: Tensor | slice = slice(None), times: int = 1) -> Measured:
        """Every metric asked for.

        Args:
            weights: of the networks at these places of the stack so many times, one round after the other.
            index: places.
            times: how many rounds.
        """
        initial = self._initial and tuple(repeated(weight[index], times) for weight in self._initial)
        decay = repeated(self._weight_decay[index], times)
        point = Point(self.data.select(index).repeated(times), self.request, self._loss, initial, decay)
        return with_others(self._network.measure(weights, point), self._others.measured(weights, index, times, point))

    def keep(self, index: Tensor) -> None:
        """Keep the networks at these places."""
        self.data = self.data.select(index)
        self._others.keep(index)
        self._weight_decay = self._weight_decay[index]
        if self._initial is not None:
            self._initial = tuple(weight[index] for weight in self._initial)
