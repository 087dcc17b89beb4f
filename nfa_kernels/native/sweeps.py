"""Outputs, Jacobians and gradients of fully connected networks, by compiled code: one pass over their samples."""

import ctypes
from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.names import MEASURED_WIDEST
from nfa_kernels.native.call import LOSSES, MOST_LAYERS, check, check_done, of_sample, places_of
from nfa_kernels.native.graphs import ACTIVATIONS
from nfa_kernels.native.networks import compiled
from nfa_kernels.networks import Architecture, Params

_LONGS = ("real_bytes", "lanes", "samples", "layers", "targets", "bends", "loss")
_OF_GRAMS = ("gram_room", "gram_added", "gram_read")
_POINTERS = (
    *("widths", "weights", "biases", "x", "y", "outputs", "inputs", "preactivations", "gradients", "of_biases"),
    *("grams", "unit_grams", *_OF_GRAMS),
)


class _Sweep(ctypes.Structure):
    """As `struct sweep` of sweep.c has it; what is not given is 0."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in _LONGS),
        *((name, ctypes.c_int64 * 3) for name in ("x_steps", "y_steps")),
        *((name, ctypes.c_double) for name in ("slope", "factor", "scale")),
        *((name, ctypes.c_void_p) for name in _POINTERS),
    )


class Targets(NamedTuple):
    """What gradients of the loss are taken with."""

    y: Tensor
    """(K, N, C) as the loss reads them, in the dtype of the passes."""
    loss: str


class Swept(NamedTuple):
    """Found by one pass."""

    outputs: Tensor
    """(K, N, C) f(x)."""
    inputs: dict[int, Tensor]
    """Layer -> (K, C N, D) rows df/dh_{l-1}, scaled."""
    preactivations: dict[int, Tensor]
    """Layer -> (K, C N, H) rows df/dz_l, scaled."""
    gradients: Params
    """Of the loss with respect to c_l W_l, and biases; empty without targets."""
    grams: dict[int, Tensor]
    """Layer -> (K, D, D) F^T F in float64 of the rows F that `inputs` would have."""
    unit_grams: dict[int, Tensor]
    """Layer -> (K, H, H) the same of `preactivations`."""


def swept(
    architecture: Architecture,
    params: Params,
    x: Tensor,
    scale: float,
    at_inputs: Collection[int],
    at_preactivations: Collection[int],
    targets: Targets | None = None,
    grams_at: Collection[int] = (),
    units_at: Collection[int] = (),
) -> Swept | None:
    """The sweep of some networks; None where the tensor library does it.

    Args:
        architecture: shared by the stack; not linear.
        params: weights and biases, of the dtype of x.
        x: (K, N, D).
        scale: of the Jacobians.
        at_inputs: numbers of the layers whose inputs are asked for, below the last.
        at_preactivations: numbers of those before whose activation they are asked for, below the last.
        targets: for gradients.
        grams_at: numbers of the layers whose inputs' F^T F are asked for and not F, below the last.
        units_at: of those before whose activation they are.
    """
    libraries = _libraries(architecture, x, targets)
    if libraries is None:
        return None
    library, metrics = libraries
    (lanes, samples), widths = x.shape[:2], architecture.widths
    weights = [one.contiguous() for one in architecture.effective(params)]
    biases = [one.contiguous() for one in architecture.biases(params)]
    for layer, one in enumerate(weights):
        check(one, (lanes, widths[layer + 1], widths[layer]), x.dtype)
    for layer, one in enumerate(biases):
        check(one, (lanes, widths[layer + 1], 1), x.dtype)
    outputs, rows = x.new_empty(lanes, samples, widths[-1]), widths[-1] * samples
    inputs = {layer: x.new_empty(lanes, rows, widths[layer - 1]) for layer in at_inputs}
    preactivations = {layer: x.new_empty(lanes, rows, widths[layer]) for layer in at_preactivations}
    grams = {layer: x.new_empty(lanes, widths[layer - 1], widths[layer - 1], dtype=torch.float64) for layer in grams_at}
    unit_grams = {layer: x.new_empty(lanes, widths[layer], widths[layer], dtype=torch.float64) for layer in units_at}
    gradients = [torch.empty_like(one) for one in (*weights, *biases)] if targets else []
    # places of arrays are read during the call: they are kept until it is over
    places = {
        "weights": places_of(weights),
        **({"biases": places_of(biases)} if biases else {}),
        **{"inputs": _by_layer(inputs, len(weights)), "preactivations": _by_layer(preactivations, len(weights))},
        **{"grams": _by_layer(grams, len(weights)), "unit_grams": _by_layer(unit_grams, len(weights))},
        **({"gradients": places_of(gradients[: len(weights)])} if targets else {}),
        **({"of_biases": places_of(gradients[len(weights) :])} if targets and biases else {}),
        "widths": (ctypes.c_int64 * len(widths))(*widths),
    }
    call = _Sweep(
        **{"real_bytes": x.itemsize, "lanes": lanes, "samples": samples, "layers": len(weights), "scale": scale},
        **{"bends": ACTIVATIONS[architecture.activation], "slope": architecture.slope},
        **{"x": x.data_ptr(), "x_steps": (ctypes.c_int64 * 3)(*x.stride()), "outputs": outputs.data_ptr()},
        **{name: ctypes.addressof(one) for name, one in places.items()},
        **{name: ctypes.cast(metrics[f"nfa_{name}"], ctypes.c_void_p).value for name in _OF_GRAMS},
    )
    if targets:
        call.y, call.y_steps = targets.y.data_ptr(), (ctypes.c_int64 * 3)(*targets.y.stride())
        call.targets, call.loss = targets.y.shape[2], LOSSES[targets.loss]
        call.factor = of_sample(targets.loss, widths[-1], samples)
    check_done(library.nfa_sweep(ctypes.byref(call)))
    last = architecture.depth - 1
    if last in unit_grams:
        # of slopes alone until here
        unit_grams[last] *= outer(weights[-1])
    return Swept(outputs, inputs, preactivations, tuple(gradients), grams, unit_grams)


def outer(last: Tensor) -> Tensor:
    """W_L^T W_L (K, H, H) in float64."""
    double = last.to(torch.float64)
    return torch.bmm(double.mT, double)


def is_compiled(architecture: Architecture, x: Tensor, targets: Targets | None) -> bool:
    """Whether compiled code sweeps such networks."""
    return _libraries(architecture, x, targets) is not None


def _libraries(
    architecture: Architecture, x: Tensor, targets: Targets | None
) -> tuple[ctypes.CDLL, ctypes.CDLL] | None:
    """That of sweeps, and that which sums Gram matrices in double."""
    library = compiled(x.dtype, "sweep") if _is_known(architecture, x, targets) else None
    metrics = compiled(torch.float64, "metrics") if library else None
    return None if library is None or metrics is None else (library, metrics)


def _is_known(architecture: Architecture, x: Tensor, targets: Targets | None) -> bool:
    """Whether the code knows such networks and has their samples at hand."""
    is_here = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    is_small = architecture.depth <= MOST_LAYERS and max(architecture.widths) <= MEASURED_WIDEST
    is_bent = architecture.activation in ACTIVATIONS and is_small
    return is_here and is_bent and (targets is None or (targets.loss in LOSSES and targets.y.dtype == x.dtype))


def _by_layer(arrays: dict[int, Tensor], layers: int) -> "ctypes.Array[ctypes.c_void_p]":
    found: Sequence[int | None] = [arrays[n].data_ptr() if n in arrays else None for n in range(1, layers + 1)]
    return (ctypes.c_void_p * layers)(*found)
