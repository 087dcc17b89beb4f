"""Gradient flow dW/dt = -(dloss/dW + lambda W) of a whole stack, adaptively, with a step size per network.

Dormand and Prince's pair of orders 5 and 4, with local extrapolation, first-same-as-last, and a proportional-integral
controller; every network accepts and rejects its own steps. Steps end exactly on the times asked for. A network whose
step size underflows is masked and reported; the others do not see it. Where the gradient jumps, as it does when a
sample crosses the kink of a ReLU, steps shrink until the jump is below the tolerance: exact, and slow.
Source: Dormand and Prince 1980, doi:10.1016/0771-050X(80)90013-3; Hairer, Norsett, Wanner, Solving Ordinary
Differential Equations I, II.4 and II.5.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.networks import Params

Slope = Callable[[Params], Params]
"""dloss/dW of every array of a stack; the flow adds the decay and the sign."""

_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
"""The last row is the solution of order 5, at which the seventh slope is taken."""
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""Order 5 minus order 4."""
_SAFETY, _LEAST, _MOST = 0.9, 0.2, 5.0
_PROPORTIONAL, _INTEGRAL = 0.17, 0.04
"""Exponents of the controller: 1/5 - 3/4 * 0.04 and 0.04."""


class Flow(NamedTuple):
    """Where every network of a stack is; all arrays in float64."""

    arrays: Tensor
    """(K, P) all parameters of a network in one row."""
    slope: Tensor
    """(K, P) their time derivative."""
    time: Tensor
    """(K,)."""
    step_size: Tensor
    """(K,) of the next step, if no measured time cuts it short."""
    error: Tensor
    """(K,) of the last accepted step, in units of the tolerance."""
    failed: Tensor
    """(K,) whether the step size has underflowed: the network stays where it is."""
    taken: Tensor
    """(K,) accepted steps."""


class Problem(NamedTuple):
    """What flows, and how exactly."""

    gradient: Slope
    shapes: tuple[tuple[int, ...], ...]
    """(H, D) of every array."""
    weight_decay: Tensor
    """(K,), or (K, P) of each number in a row of parameters, coupled, >= 0."""
    rtol: float = 1e-10
    atol: float = 1e-12
    speed: Tensor | None = None
    """(K, P) how fast time passes for each number; None: for all alike."""


def start(problem: Problem, params: Params) -> Flow:
    """The flow at time 0.

    Args:
        problem: gradient, shapes, decay and tolerances.
        params: (K, H, D) per array, float64.
    Raises:
        ValueError: another dtype, or tolerances that are not positive.
    """
    if any(array.dtype != torch.float64 for array in params):
        raise ValueError(f"params: received {params[0].dtype}, needed is float64: tolerances lie below float32")
    if not (problem.rtol > 0 and problem.atol > 0):
        raise ValueError(f"rtol, atol: received {problem.rtol}, {problem.atol}; allowed are numbers > 0")
    arrays = torch.cat([array.flatten(1) for array in params], 1)
    slope = _slope(problem, arrays)
    scale = problem.atol + problem.rtol * arrays.abs()
    size, speed = _rms(arrays / scale), _rms(slope / scale)
    guess = torch.where((size > 1e-5) & (speed > 1e-5), 0.01 * size / speed, 1e-6)
    zero = torch.zeros_like(guess)
    return Flow(arrays, slope, zero, guess, torch.ones_like(guess), ~guess.isfinite(), zero)


def params_of(problem: Problem, flow: Flow) -> Params:
    """The parameters as a tuple of (K, H, D)."""
    return _split(problem, flow.arrays)


def arrived(flow: Flow, until: float) -> bool:
    """Whether every network is at a time, or will never be."""
    return bool((flow.failed | (flow.time >= until)).all())


def step(problem: Problem, flow: Flow, until: float) -> Flow:
    """Try one step of every network that is not yet at `until`; steps end there at the latest."""
    left = until - flow.time
    moving = ~flow.failed & (left > 0)
    # a step that would leave less than a tenth of itself to do is stretched to the end
    is_last = flow.step_size * 1.1 >= left
    size = torch.where(moving, torch.where(is_last, left, flow.step_size), 0.0)
    slopes = [flow.slope]
    arrays = flow.arrays
    for row in _STAGES:
        arrays = flow.arrays + size[:, None] * _combined(slopes, row)
        slopes.append(_slope(problem, arrays))
    scale = problem.atol + problem.rtol * torch.maximum(flow.arrays.abs(), arrays.abs())
    error = _rms(size[:, None] * _combined(slopes, _ERROR) / scale)
    accepted = moving & (error <= 1)  # false for NaN
    factor = _factor(error, flow.error, accepted)
    underflow = moving & ~accepted & (size * factor <= 16 * torch.finfo(torch.float64).eps * flow.time)
    grown = torch.where(accepted & is_last, torch.maximum(flow.step_size, size * factor), size * factor)
    keep = accepted[:, None]
    return Flow(
        torch.where(keep, arrays, flow.arrays),
        torch.where(keep, slopes[-1], flow.slope),
        torch.where(accepted, torch.where(is_last, until, flow.time + size), flow.time),
        torch.where(moving, grown, flow.step_size),
        torch.where(accepted, error.clamp_min(1e-4), flow.error),
        flow.failed | underflow | (moving & (grown < torch.finfo(torch.float64).tiny)),
        flow.taken + accepted,
    )


def _factor(error: Tensor, before: Tensor, accepted: Tensor) -> Tensor:
    """By how much the step size changes."""
    # powers by exp and log, whose rounding does not depend on an element's place in the stack
    small = error.clamp_min(1e-10).log()
    controlled = _SAFETY * torch.exp(_INTEGRAL * before.log() - _PROPORTIONAL * small)
    after_rejection = (_SAFETY * torch.exp(-0.2 * small)).clamp(_LEAST, 1.0)
    factor = torch.where(accepted, controlled.clamp(_LEAST, _MOST), after_rejection)
    return torch.where(factor.isfinite(), factor, _LEAST)


def _combined(slopes: Sequence[Tensor], coefficients: Sequence[float]) -> Tensor:
    """Sum of coefficient times slope, (K, P)."""
    total = torch.zeros_like(slopes[0])
    for slope, coefficient in zip(slopes, coefficients, strict=True):
        if coefficient:
            total.add_(slope, alpha=coefficient)
    return total


def _slope(problem: Problem, arrays: Tensor) -> Tensor:
    found = problem.gradient(_split(problem, arrays))
    flat = torch.cat([gradient.flatten(1) for gradient in found], 1)
    decay = problem.weight_decay if problem.weight_decay.ndim == 2 else problem.weight_decay[:, None]
    slope = -torch.addcmul(flat, decay, arrays)
    return slope if problem.speed is None else slope * problem.speed


def _split(problem: Problem, arrays: Tensor) -> Params:
    parts = arrays.split([math.prod(shape) for shape in problem.shapes], 1)
    return tuple(part.unflatten(1, shape) for part, shape in zip(parts, problem.shapes, strict=True))


def _rms(values: Tensor) -> Tensor:
    return values.square().mean(1).sqrt()
