"""A thin factor of the AGOP of any `torch.nn.Module` at any of its layers, by automatic differentiation.

The structured sweep of agop.py is for this package's own stacks. This path is for all else (convolutions flattened to
vectors, residual connections, normalisation in evaluation mode): slower, and equal to it where both apply.
"""

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from nfa_kernels.agop import BLOCK_ELEMENTS, folded


def module_agop_factor(
    module: nn.Module, x: Tensor, layer: nn.Module | None = None, block_elements: int = BLOCK_ELEMENTS
) -> Tensor:
    """A factor F (1, R, D) with F^T F = mean_i J(x_i)^T J(x_i), J = df/dh (C, D), h the layer's flattened input.

    With a residual connection around the layer, h is what enters the layer alone.

    Args:
        module: takes a batch (N, ..) and returns (N, ..); samples do not interact.
        x: (N, ..) inputs, N >= 1.
        layer: a submodule that is called once, with one tensor, in the forward pass; None for the module's own input.
        block_elements: bound on the numbers in one block's Jacobians.
    Returns:
        One network's factor as a stack of one, in float64, for `spectra.spectrum`.
    Raises:
        ValueError: no samples, inputs that are not finite, or a layer that is not called exactly once.
    """
    if x.ndim < 2 or x.shape[0] == 0:
        raise ValueError(f"x: received shape {tuple(x.shape)}, needed is (N >= 1, ..)")
    if not x.isfinite().all():
        raise ValueError("x: received numbers that are not finite, allowed are finite ones")
    inputs = x if layer is None else _inputs_of(module, layer, x)

    def output(replaced: Tensor, sample: Tensor) -> Tensor:
        if layer is None:
            return module(replaced.unsqueeze(0)).flatten()
        with _Replacing(layer, replaced.unsqueeze(0)):
            return module(sample.unsqueeze(0)).flatten()

    jacobians = vmap(jacrev(output), randomness="error")
    with torch.no_grad():
        outputs = output(inputs[0], x[0]).numel()
    size = max(1, block_elements // (outputs * inputs[0].numel()))
    factor: Tensor | None = None
    for block, samples in zip(inputs.split(size), x.split(size), strict=True):
        rows = jacobians(block, samples).detach().reshape(1, len(block) * outputs, -1).to(torch.float64)
        factor = folded(factor, rows)
    return factor / len(x) ** 0.5


class _Replacing:
    """Within it, the layer receives another input than the one the forward pass computes."""

    def __init__(self, layer: nn.Module, replaced: Tensor) -> None:
        self._layer, self._replaced = layer, replaced

    def __enter__(self) -> None:
        self._hook = self._layer.register_forward_pre_hook(lambda _layer, _inputs: (self._replaced,))

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def _inputs_of(module: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    """What enters the layer for each sample."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].detach()))
    try:
        with torch.no_grad():
            module(x)
    finally:
        hook.remove()
    if len(seen) != 1:
        raise ValueError(f"layer: called {len(seen)} times in the forward pass, needed is a submodule called once")
    return seen[0]
