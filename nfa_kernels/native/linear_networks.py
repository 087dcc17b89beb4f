"""Products of the matrices of linear networks, and how large gradients are, by compiled code in float64."""

import ctypes
from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.native.call import LOSSES, MOST_LAYERS, check, check_done, of_sample, places_of
from nfa_kernels.native.networks import compiled
from nfa_kernels.networks import Params

_MOST_SAMPLES = 4096
"""Copied for one network at a time."""


class SampleSet(ctypes.Structure):
    """As `struct samples` of thin.h has it; what is not given is 0."""

    _fields_ = (
        ("count", ctypes.c_int64),
        *((name, ctypes.c_int64 * 3) for name in ("x_steps", "y_steps")),
        *((name, ctypes.c_void_p) for name in ("x", "y")),
    )


class _Thin(ctypes.Structure):
    """As `struct thin` of thin.h has it; what is not given is 0."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("lanes", "layers", "targets", "loss")),
        ("factor", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("widths", "weights")),
        ("set", SampleSet),
        *((name, ctypes.c_void_p) for name in ("products", "outputs", "squares")),
    )


class Gradients(NamedTuple):
    """What gradients of the loss come with."""

    outputs: Tensor
    """(K, N, C)."""
    squares: Tensor
    """(K, L) |dloss/d(c_l W_l)|^2."""


def partial_products(weights: Params, layers: Collection[int]) -> dict[int, Tensor] | None:
    """W_L .. W_l (K, C, D) for the asked layers l of W_1 .. W_L (K, H, D); None where the tensor library does it."""
    library = _library(weights)
    if library is None:
        return None
    outputs = weights[-1].shape[1]
    found = {at: one.new_empty(len(one), outputs, one.shape[2]) for at, one in enumerate(weights, 1) if at in layers}
    _make(library, weights, found)
    return found


def gradient_squares(weights: Params, x: Tensor, y: Tensor, loss: str) -> Gradients | None:
    """Outputs and squares of gradients; None where the tensor library does it.

    Args:
        weights: c_l W_l, each (K, H, D), in float64.
        x: (K, N, D).
        y: (K, N, C) targets as the loss reads them.
        loss: name.
    """
    library, outputs = _library(weights), weights[-1].shape[1]
    is_thin = outputs <= x.shape[2] and x.shape[1] <= _MOST_SAMPLES
    is_known = loss in LOSSES and x.dtype == y.dtype == torch.float64
    if library is None or not is_thin or not is_known:
        return None
    found = Gradients(x.new_empty(*x.shape[:2], outputs), x.new_empty(len(x), len(weights)))
    given = _Thin(
        **{"targets": y.shape[2], "loss": LOSSES[loss], "set": sample_set(x, y)},
        **{"outputs": found.outputs.data_ptr(), "squares": found.squares.data_ptr()},
        factor=of_sample(loss, outputs, x.shape[1]),
    )
    _make(library, weights, {}, given)
    return found


def sample_set(x: Tensor, y: Tensor) -> SampleSet:
    """Of every network the samples x (K, N, D) with targets y (K, N, C), in float64, wherever they lie."""
    steps = {"x_steps": (ctypes.c_int64 * 3)(*x.stride()), "y_steps": (ctypes.c_int64 * 3)(*y.stride())}
    return SampleSet(x.shape[1], **steps, x=x.data_ptr(), y=y.data_ptr())


def _library(weights: Params) -> ctypes.CDLL | None:
    is_here = all(one.device.type == "cpu" and one.dtype == torch.float64 for one in weights)
    return compiled(torch.float64, "metrics") if is_here and len(weights) <= MOST_LAYERS else None


def _make(library: ctypes.CDLL, weights: Params, products: dict[int, Tensor], call: _Thin | None = None) -> None:
    call = _Thin() if call is None else call
    weights = tuple(one.contiguous() for one in weights)
    widths = [weights[0].shape[2], *(one.shape[1] for one in weights)]
    for layer, one in enumerate(weights):
        check(one, (len(weights[0]), widths[layer + 1], widths[layer]), torch.float64)
    asked = [products[n].data_ptr() if n in products else None for n in range(1, len(weights) + 1)]
    # read during the call: kept until it is over
    sizes, given, into = (
        (ctypes.c_int64 * len(widths))(*widths),
        places_of(weights),
        (ctypes.c_void_p * len(asked))(*asked),
    )
    call.lanes, call.layers, call.widths = len(weights[0]), len(weights), ctypes.addressof(sizes)
    call.weights, call.products = ctypes.addressof(given), ctypes.addressof(into)
    check_done(library.nfa_thin(ctypes.byref(call)))
