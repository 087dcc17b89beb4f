"""How a stack moves along gradient flow."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nfa_kernels import flow
from nfa_kernels.at_once import is_cached
from nfa_kernels.networks import Params
from service.grid.measured_steps import measured_times
from workers.checkpoints import Named, flattened, like
from workers.looks import Look
from workers.training_data import Data
from workers.updates import Training, learning_rates, weight_decays

_UNASKED_TRIES = 16
"""Steps of a flow that a device tries between two questions to it."""


class Flowing:
    """Motion along gradient flow; measured points are times."""

    at_check = False
    is_compiled = is_captured = False

    def __init__(self, weights: Params, data: Data, settings: Mapping[str, Any], lanes: Sequence[Training]) -> None:
        training = settings["training"]
        self._data = data
        self._goals = measured_times(settings)
        self._kept = settings["measure"].get("weights", ())
        self.points = len(self._goals)
        speeds = learning_rates(data.owners, lanes, weights[0].device)
        self._problem = flow.Problem(
            data.gradients,
            tuple(weight.shape[1:] for weight in weights),
            _spread(weight_decays(data.owners, lanes, weights[0].device), weights),
            training["rtol"],
            training["atol"],
            None if all(bool((own == 1).all()) for own in speeds) else _spread(speeds, weights),
        )
        self._flow = flow.start(self._problem, weights)
        self.step = 0

    @property
    def weights(self) -> Params:
        """W_1 .. W_L, and biases."""
        return flow.params_of(self._problem, self._flow)

    @property
    def time(self) -> Tensor:
        """(K,) flow time."""
        return self._flow.time

    def measured(self, number: int) -> list[int]:
        """All: every point is a measured time."""
        return list(range(len(self._flow.time)))

    def kept(self, number: int) -> list[int]:
        """All or none: whether the number of a measured time is under `measure.weights`."""
        return self.measured(number) if number in self._kept else []

    def ending(self, number: int) -> frozenset[int]:
        """All, at the horizon."""
        return frozenset(self.measured(number) if number == self.points - 1 else ())

    def reached(self, number: int) -> bool:
        """Whether every network is at that time, or stuck before it."""
        return flow.arrived(self._flow, self._goals[number])

    def advance(self, number: int) -> int:
        """Try one step of every network that is not there yet; a device tries several before it is asked who is."""
        self.step = number
        before = self._flow.taken.sum()
        for _ in range(1 if is_cached(self._flow.time) else _UNASKED_TRIES):
            # networks that are there stay as they are
            self._flow = flow.step(self._problem, self._flow, self._goals[number])
        return int(self._flow.taken.sum() - before)

    def coming(self, number: int, most: int) -> list[Look]:
        """None: how many steps a network takes to a time depends on where it is."""
        return []

    def film(self, looks: Sequence[Look]) -> tuple[Params, Tensor]:
        """Never: nothing is coming."""
        raise ValueError(f"looks: received {len(looks)}, allowed are none: a flow is looked at one look at a time")

    def stuck(self) -> list[tuple[int, str]]:
        """Networks whose step size has underflowed."""
        places = self._flow.failed.nonzero().flatten().tolist()
        return [
            (place, f"the step size of gradient flow fell below rounding at time {self._flow.time[place]:.6g}")
            for place in places
        ]

    def keep(self, index: Tensor) -> None:
        """Keep the networks at these places."""
        self._data.keep(index)
        self._flow = flow.Flow(*(part[index] for part in self._flow))
        decay, speed = self._problem.weight_decay, self._problem.speed
        self._problem = self._problem._replace(weight_decay=decay[index], speed=None if speed is None else speed[index])

    def checkpoint_step(self, number: int) -> int:
        """The number of the measured time before."""
        return number - 1

    def state(self, number: int) -> Named:
        """The integrator's, and which time it is on the way to."""
        lanes = len(self._flow.time)
        return {"number": torch.full((lanes,), number)} | flattened(self._flow, "flow", lanes)

    def restore(self, state: Named) -> int:
        """Go on from there."""
        found: Any = like(self._flow, "flow", state)
        self._flow = found
        return int(state["number"][0])


def _spread(of_parameters: Sequence[Tensor], weights: Params) -> Tensor:
    """(K, P) a number (K,) of every parameter beside each number of it; (K,) where all parameters have the same."""
    if all(torch.equal(own, of_parameters[0]) for own in of_parameters):
        return of_parameters[0]
    pairs = zip(of_parameters, weights, strict=True)
    return torch.cat([own[:, None].expand(-1, weight[0].numel()) for own, weight in pairs], 1)
