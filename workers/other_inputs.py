"""Inputs other than the training set: made for a stack, and what is measured of its networks over them.

The AGOP's metrics alone depend on them; a number is stored under the metric's id, a slash and the id of the inputs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.measured_data import MeasuredData
from nfa_kernels.metrics import Measured, Request
from nfa_kernels.networks import Params
from nfa_kernels.random_streams import normal, stream
from workers.blocks import Stack
from workers.network_data import Point
from workers.networks import Network


class OtherInputs:
    """The inputs of a stack under their ids.

    Args:
        stack: with the arrays of uploads that are named.
        ids: which; the training set is left out.
        network: of the stack.
        data: measured data, whose inputs are replaced.
        form: of one sample's input, as the data have it.
        x_test: (K, T, ..) the test set, as the network reads it; T = 0 without one.
    Raises:
        ValueError: inputs that are not there, or that the network cannot read.
    """

    def __init__(
        self,
        stack: Stack,
        ids: Sequence[str],
        network: Network,
        data: MeasuredData,
        form: Sequence[int],
        x_test: Tensor,
    ) -> None:
        self._data: dict[str, MeasuredData] = {}
        self._network = network
        for one in ids:
            found = names.read_inputs(one)
            if found is not None:
                x = x_test if found.kind == "test" else self._shared(found, stack, form, x_test)
                if x.shape[1] == 0:
                    raise ValueError(f"inputs: received {one}, and the data have no such samples")
                self._data[one] = network.on_inputs(data, x)

    def _shared(self, found: names.Inputs, stack: Stack, form: Sequence[int], like: Tensor) -> Tensor:
        """(K, N, ..) inputs that all networks share."""
        if found.kind == "probes":
            x = found.scale * normal((found.count, *form), stream("probes", found.seed))
        else:
            x = torch.as_tensor(stack.arrays[found.dataset]["x"])
            if tuple(x.shape[1:]) != tuple(form):
                raise ValueError(f"inputs: received x {tuple(x.shape)}, needed is (n, {', '.join(map(str, form))})")
        return x.to(like.device).expand(len(stack.lanes), *x.shape)

    def keep(self, index: Tensor) -> None:
        """Keep the networks at these places."""
        self._data = {one: data.select(index) for one, data in self._data.items()}

    def measured(
        self, params: Params, index: Tensor | slice, times: int, point: Point
    ) -> list[tuple[int, str, Tensor]]:
        """(layer, id, values) of every metric that depends on inputs and is asked for.

        Args:
            params: of the networks at these places of the stack, so many times, one round after the other.
            index: places.
            times: how many rounds.
            point: what they are measured with.
        """
        request = point.request
        metrics = tuple(name for name in request.metrics if names.takes_inputs(name))
        if not self._data or not (metrics or request.exponents):
            return []
        own = Request(metrics, request.layers, request.exponents)
        return [
            row
            for one, data in self._data.items()
            for row in _named(
                self._network.measure(params, point._replace(data=data.select(index).repeated(times), request=own)),
                one,
            )
        ]


def _named(measured: Measured, inputs: str) -> list[tuple[int, str, Tensor]]:
    found = [(layer, name, values) for layer, by_name in measured.layers.items() for name, values in by_name.items()]
    return [(layer, names.on_inputs(name, inputs), values) for layer, name, values in (*found, *measured.parametrised)]


def with_others(measured: Measured, others: Sequence[tuple[int, str, Tensor]]) -> Measured:
    """What was measured on the training set, and on other inputs."""
    return measured._replace(parametrised=[*measured.parametrised, *others]) if others else measured
