"""A stack's steps by compiled code, as many at a time as nobody needs to look in between."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from nfa_kernels.cost import COMPILED_FLOPS_AT_ONCE
from nfa_kernels.linear import Moments
from nfa_kernels.native import call
from nfa_kernels.native.graphs import GraphCall, run_graph
from nfa_kernels.native.networks import compiled
from nfa_kernels.networks import Params
from workers.updates import Updates

_SHARED = {
    **dict.fromkeys(("momentum", "nesterov", "sgdw"), ("momentum",)),
    **dict.fromkeys(("adam", "adamw"), ("beta1", "beta2", "epsilon")),
    **{"rmsprop": ("rho", "", "epsilon"), "adagrad": ("", "", "epsilon"), "lion": ("beta1", "beta2")},
}


class CompiledSteps:
    """Moves weights and the state of an update rule, written over both.

    Args:
        make: makes a call with weights, states, data and numbers.
        rule: whose steps they are.
        arrays: of weights.
        flops: of a step of one network.
        updates: the rule's numbers and state.
    """

    def __init__(self, make: Callable[..., None], rule: str, arrays: int, flops: int, updates: Updates) -> None:
        self._make, self._rule, self._arrays, self._flops, self._updates = make, rule, arrays, flops, updates
        self.keep()

    def keep(self) -> None:
        """Read the numbers of the networks that are left."""
        rates, decays = list[Tensor](), list[Tensor]()
        for place in range(self._arrays):
            rates.append(self._updates.of("learning_rate", place))
            decays.append(self._updates.of("weight_decay", place))
        lanes = len(rates[0])
        shared = torch.zeros(lanes, 3, dtype=torch.float64)
        for column, name in enumerate(_SHARED.get(self._rule, ())):
            shared[:, column] = self._updates.of(name, 0)
        self._rates, self._decays, self._shared = torch.stack(rates, 1), torch.stack(decays, 1), shared

    @property
    def most(self) -> int:
        """Steps at a time."""
        return max(1, int(COMPILED_FLOPS_AT_ONCE / (len(self._rates) * self._flops)))

    def run(
        self,
        weights: Params,
        data: Moments | call.Samples,
        paces: Sequence[float | Tensor],
        looks: call.Looks | None = None,
    ) -> None:
        """As many steps as there are paces.

        Args:
            weights: W_1 .. W_L, and biases, contiguous.
            data: what their gradients are taken on.
            paces: factor on the rates at each step, one number or (K, 1, 1).
            looks: at weights on the way.
        """
        states, done = self._updates.running(len(weights))
        numbers = call.Numbers(self._rates, self._decays, self._shared, _paces(paces, len(self._rates)), done)
        self._make(weights, states, data, numbers, looks)
        self._updates.count(len(paces))


def compiled_steps(
    widths: tuple[int, ...], steps: call.Steps | None, updates: Updates, weights: Params, flops: int
) -> CompiledSteps | None:
    """Compiled steps of a stack of products of matrices; None where the tensor library moves it.

    Args:
        widths: (d_0, .., d_L).
        steps: rule and loss; None: unknown ones.
        updates: the rule's numbers and state.
        weights: of the stack.
        flops: of a step of one network.
    """
    if steps is None or weights[0].device.type != "cpu":
        return None
    library = compiled(weights[0].dtype)
    if library is None:
        return None

    def make(
        weights: Params,
        states: Sequence[Params],
        data: Moments | call.Samples,
        numbers: call.Numbers,
        looks: call.Looks | None,
    ) -> None:
        call.run(library, widths, weights, states, data, steps, numbers, looks)

    return CompiledSteps(make, steps.rule, len(widths) - 1, flops, updates)


def compiled_graph_steps(
    said: GraphCall | None, updates: Updates, weights: Params, flops: int, dtype: torch.dtype
) -> CompiledSteps | None:
    """The same of a stack of graphs or of fully connected networks, passed in a dtype."""
    if said is None or weights[0].device.type != "cpu":
        return None
    library = compiled(dtype, "graph")
    if library is None:
        return None
    return CompiledSteps(partial(run_graph, library, said), said.steps.rule, len(said.shapes), flops, updates)


def _paces(paces: Sequence[float | Tensor], lanes: int) -> Tensor:
    """(steps,) or (K, steps)."""
    if not isinstance(paces[0], Tensor):  # and so none is
        return torch.tensor(paces, dtype=torch.float64)
    return torch.cat([torch.as_tensor(pace, dtype=torch.float64).reshape(-1, 1).expand(lanes, 1) for pace in paces], 1)
