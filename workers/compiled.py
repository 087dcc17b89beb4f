"""A stack's steps by compiled code, as many at a time as nobody needs to look in between."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from nfa_kernels.cost import Shape, step_flops
from nfa_kernels.linear import Moments
from nfa_kernels.native import call
from nfa_kernels.native.networks import compiled
from nfa_kernels.networks import Architecture, Params
from workers.updates import Updates

_FLOPS_AT_ONCE = 5e8
"""About 20 ms of a core: who waits for a trainer's answer does not wait longer."""
_SHARED = {
    **dict.fromkeys(("momentum", "nesterov", "sgdw"), ("momentum",)),
    **dict.fromkeys(("adam", "adamw"), ("beta1", "beta2", "epsilon")),
    **{"rmsprop": ("rho", "", "epsilon"), "adagrad": ("", "", "epsilon"), "lion": ("beta1", "beta2")},
}


class CompiledSteps:
    """Moves weights and the state of an update rule, written over both.

    Args:
        library: compiled for the weights' dtype.
        architecture: of the stack.
        steps: what a call says about training it.
        updates: the rule's numbers and state.
        samples: of one step.
    """

    def __init__(
        self, library: ctypes.CDLL, architecture: Architecture, steps: call.Steps, updates: Updates, samples: int
    ) -> None:
        self._library, self._widths, self._steps, self._updates = library, architecture.widths, steps, updates
        shape = Shape(architecture.widths, samples, steps.is_product, False, steps.rule)
        self._flops = step_flops(shape)
        self.keep()

    def keep(self) -> None:
        """Read the numbers of the networks that are left."""
        arrays = (len(self._widths) - 1) * (1 + self._steps.biases)
        rates, decays = list[Tensor](), list[Tensor]()
        for place in range(arrays):
            rates.append(self._updates.of("learning_rate", place))
            decays.append(self._updates.of("weight_decay", place))
        lanes = len(rates[0])
        shared = torch.zeros(lanes, 3, dtype=torch.float64)
        for column, name in enumerate(_SHARED.get(self._steps.rule, ())):
            shared[:, column] = self._updates.of(name, 0)
        self._rates, self._decays, self._shared = torch.stack(rates, 1), torch.stack(decays, 1), shared

    @property
    def most(self) -> int:
        """Steps at a time."""
        return max(1, int(_FLOPS_AT_ONCE / (len(self._rates) * self._flops)))

    def run(self, weights: Params, data: Moments | call.Samples, paces: Sequence[float | Tensor]) -> None:
        """As many steps as there are paces.

        Args:
            weights: W_1 .. W_L, and biases, contiguous.
            data: what their gradients are taken on.
            paces: factor on the rates at each step, one number or (K, 1, 1).
        """
        states, done = self._updates.running(len(weights))
        numbers = call.Numbers(self._rates, self._decays, self._shared, _paces(paces, len(self._rates)), done)
        call.run(self._library, self._widths, weights, states, data, self._steps, numbers)
        self._updates.count(len(paces))


def compiled_steps(
    architecture: Architecture, steps: call.Steps | None, updates: Updates, weights: Params, samples: int
) -> CompiledSteps | None:
    """Compiled steps of a stack; None where the tensor library moves it."""
    if steps is None or weights[0].device.type != "cpu":
        return None
    library = compiled(weights[0].dtype)
    return None if library is None else CompiledSteps(library, architecture, steps, updates, samples)


def _paces(paces: Sequence[float | Tensor], lanes: int) -> Tensor:
    """(steps,) or (K, steps)."""
    if not any(isinstance(pace, Tensor) for pace in paces):
        return torch.tensor(paces, dtype=torch.float64)
    return torch.cat([torch.as_tensor(pace, dtype=torch.float64).reshape(-1, 1).expand(lanes, 1) for pace in paces], 1)
