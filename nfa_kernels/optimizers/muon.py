"""Muon: (1 - lr lambda) W - lr sqrt(max(1, H/D)) O, O the matrix nearest to orthogonal to g + mu m, m <- mu m + g.

O comes from five Newton-Schulz steps X <- a X + (b X X^T + c (X X^T)^2) X from X = U / |U|_F, with the paper's
coefficients: its singular values end between about 0.7 and 1.2, not at 1. Departures from torch.optim.Muon: the steps
are in the training's dtype, not in bfloat16, and every array is a matrix, biases being matrices of one column.
Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon.
"""

import torch
from torch import Tensor

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.momentum import State, init
from nfa_kernels.optimizers.rule import Hyperparameters, number, shrunk

__all__ = ["init", "newton_schulz", "step"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_EPSILON = 1e-7


def step(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """One update of every network; shapes as given."""
    rate, friction = (number(hyperparameters, name, weights) for name in ("learning_rate", "momentum"))
    momentum = tuple(g.addcmul(m, friction) for m, g in zip(state.momentum, gradients, strict=True))
    after = []
    for weight, gradient, m in zip(shrunk(weights, hyperparameters), gradients, momentum, strict=True):
        spread = max(1.0, weight.shape[1] / weight.shape[2]) ** 0.5
        after.append(weight.addcmul(newton_schulz(torch.addcmul(gradient, m, friction)), rate * spread, value=-1))
    return tuple(after), State(momentum)


def newton_schulz(matrix: Tensor) -> Tensor:
    """(K, H, D) with the singular vectors of `matrix` and singular values near one; zero where it is zero."""
    a, b, c = _COEFFICIENTS
    is_tall = matrix.shape[1] > matrix.shape[2]
    x = matrix.mT if is_tall else matrix
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + _EPSILON)
    for _ in range(_STEPS):
        square = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x
