"""Calls of the compiled steps: what `struct call` of fused.c says, made of tensors."""

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.linear import LOSS_FACTORS, Moments
from nfa_kernels.networks import Params

_NUMBERED = ("gd", "momentum", "nesterov", "adam", "adamw", "sgdw", "rmsprop", "adagrad", "lion", "signsgd")
RULES = {"sgd": 0, **{name: number for number, name in enumerate(_NUMBERED)}}
"""Update rules that are compiled, by the numbers that the source has for them."""
LOSSES = {"half": 0, "sum": 0, "mse": 0, "huber": 1, "logistic": 2, "cross_entropy": 3}
MOST_LAYERS = 64

_LONGS = (
    *("real_bytes", "lanes", "steps", "layers", "inputs", "outputs", "targets", "flips", "rule", "loss"),
    *("samples", "batch", "count", "own_paces"),
)
_POINTERS = (
    *("multipliers", "widths", "weights", "first", "second", "xx", "yx", "x", "y", "rows"),
    *("rates", "decays", "numbers", "paces"),
)
_OF_GRAPHS = ("node_count", "positions", "first_output", "output_count", "wide")


class Call(ctypes.Structure):
    """As `struct call` has it; what is not given is 0."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in _LONGS),
        *((name, ctypes.c_double) for name in ("factor", "scale")),
        *((name, ctypes.c_void_p) for name in _POINTERS),
        ("nodes", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in _OF_GRAPHS),
        *((name, ctypes.c_void_p) for name in ("taps", "found")),
        ("looks", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("look_steps", "look_frames", "frames", "shapes")),
    )


class Samples(NamedTuple):
    """What gradients are taken on where moments do not say it all."""

    x: Tensor
    """(K, N, D)."""
    y: Tensor
    """(K, N, C) as the loss reads them."""
    rows: Tensor | None
    """(K, steps, b) which of them each step takes; None: all."""


class Numbers(NamedTuple):
    """What the rule reads, all float64."""

    rates: Tensor
    """(K, P) learning rate of every array."""
    decays: Tensor
    """(K, P)."""
    shared: Tensor
    """(K, 3): momentum, beta1 or rho; beta2; epsilon; those that the rule has no use for are zero."""
    paces: Tensor
    """(steps,) or (K, steps) factors on the rates."""
    done: int = 0
    """Steps that Adam has counted before."""


class Looks(NamedTuple):
    """Where weights are wanted on the way."""

    steps: tuple[int, ...]
    """After so many of a call's steps, increasing."""
    places: tuple[int, ...]
    """Which of the frames each of these looks fills, 0 .. S - 1 in any order."""
    frames: Params
    """(S, K, ..) of every array of weights."""


class Steps(NamedTuple):
    """What is done to the networks of a stack, but for the data."""

    rule: str
    loss: str
    factor: float
    """Of the gradient of one sample's loss with respect to its outputs."""
    multipliers: tuple[float, ...]
    """c_1 .. c_L."""


def of_sample(loss: str, outputs: int, samples: int) -> float:
    """Factor of the gradient of one of so many samples' losses with respect to its outputs."""
    return (2 * LOSS_FACTORS[loss](outputs) if loss in LOSS_FACTORS else 1.0) / samples


def run(
    library: ctypes.CDLL,
    widths: Sequence[int],
    weights: Params,
    states: Sequence[Params],
    data: Moments | Samples,
    steps: Steps,
    numbers: Numbers,
    looks: Looks | None = None,
) -> None:
    """Move every product of matrices by as many steps as there are paces, written over weights and states.

    Args:
        library: compiled for the weights' dtype.
        widths: (d_0, .., d_L).
        weights: W_1 .. W_L, each (K, d_l, d_{l-1}); contiguous, on the CPU.
        states: running means of the rule, none to two, each of the weights' shapes and dtype.
        data: moments or samples in the weights' dtype.
        steps: rule and loss.
        numbers: of every network.
        looks: at weights on the way.
    Raises:
        ValueError: an array is not as the compiled code reads it.
        MemoryError: there is none for a copy of one network.
    """
    layers = len(widths) - 1
    shapes = [(after, before) for before, after in pairwise(widths)]
    sizes = (ctypes.c_int64 * (layers + 1))(*widths)
    fields = {
        **{"layers": layers, "inputs": widths[0], "outputs": widths[-1], "widths": ctypes.addressof(sizes)},
        **{"flips": widths[-1] > widths[0], "scale": math.prod(steps.multipliers)},
    }
    make(library.nfa_fused_steps, fields, shapes, weights, states, data, steps, numbers, looks)


def make(
    function: Callable[..., int],
    fields: Mapping[str, int | float],
    shapes: Sequence[tuple[int, int]],
    weights: Params,
    states: Sequence[Params],
    data: Moments | Samples,
    steps: Steps,
    numbers: Numbers,
    looks: Looks | None = None,
) -> None:
    """Fill a call in, check every array of it, and make it.

    Args:
        function: of a library.
        fields: what is said about the networks themselves; sizes `inputs` and `outputs` among them.
        shapes: (rows, columns) of every array of weights.
        weights: each (K, rows, columns), contiguous, on the CPU; written over, as are the states.
        states: as in `run`, as are the others.
    Raises:
        ValueError: an array is not as the compiled code reads it.
        MemoryError: there is none for a copy of one network.
    """
    lanes, paces = len(weights[0]), numbers.paces
    for shape, *arrays in zip(shapes, weights, *states, strict=True):
        for array in arrays:
            check(array, (lanes, *shape), weights[0].dtype)
    own = (data.xx if isinstance(data, Moments) else data.x).dtype
    call = Call(
        real_bytes=own.itemsize,
        **{"lanes": lanes, "steps": paces.shape[-1], "rule": RULES[steps.rule], "loss": LOSSES[steps.loss]},
        **{"count": numbers.done, "own_paces": paces.ndim == 2, "factor": steps.factor},
        **fields,
    )
    kept: list[object] = []

    def point(name: str, array: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        check(array, shape, dtype)
        setattr(call, name, array.data_ptr())

    def points(name: str, arrays: Params) -> None:
        found = places_of(arrays)
        kept.append(found)
        setattr(call, name, ctypes.addressof(found))

    points("weights", weights)
    for name, arrays in zip(("first", "second"), states, strict=False):
        points(name, arrays)
    if looks is not None:
        for shape, frames in zip(shapes, looks.frames, strict=True):
            check(frames, (len(looks.steps), lanes, *shape), weights[0].dtype)
        points("frames", looks.frames)
        if {*looks.places} != {*range(len(looks.steps))}:
            raise ValueError(f"compiled steps: received frames {looks.places}, needed is one for each look")
        if any(one >= after for one, after in pairwise((0, *looks.steps, call.steps + 1))):
            told = f"received looks after {looks.steps}, allowed are 1 to {call.steps} in order"
            raise ValueError(f"compiled steps: {told}")
        look_steps, look_frames = ((ctypes.c_int64 * len(looks.steps))(*one) for one in (looks.steps, looks.places))
        call.looks, call.look_steps = len(looks.steps), ctypes.addressof(look_steps)
        call.look_frames = ctypes.addressof(look_frames)
    multipliers = (ctypes.c_double * len(steps.multipliers))(*steps.multipliers)
    call.multipliers = ctypes.addressof(multipliers)
    inputs, outputs = call.inputs, call.outputs
    if isinstance(data, Moments):
        point("xx", data.xx, (lanes, inputs, inputs), own)
        point("yx", data.yx, (lanes, outputs, inputs), own)
    else:
        call.samples, call.targets = data.x.shape[1], data.y.shape[2]
        call.batch = call.samples if data.rows is None else data.rows.shape[2]
        point("x", data.x, (lanes, call.samples, inputs), own)
        point("y", data.y, (lanes, call.samples, call.targets), own)
        if data.rows is not None:
            point("rows", data.rows, (lanes, call.steps, call.batch), torch.int64)
    for name, array, shape in (
        ("rates", numbers.rates, (lanes, len(weights))),
        ("decays", numbers.decays, (lanes, len(weights))),
        ("numbers", numbers.shared, (lanes, 3)),
        ("paces", paces, (lanes, call.steps) if call.own_paces else (call.steps,)),
    ):
        point(name, array, shape, torch.float64)
    check_done(function(ctypes.byref(call)))


def check_done(found: int) -> None:
    """Raise what a call answers.

    Raises:
        MemoryError: there is none for a copy of one network.
        ValueError: the code was compiled for other networks.
    """
    if found == 1:
        raise MemoryError("compiled steps: no memory for a copy of one network")
    if found:
        raise ValueError("compiled steps: received networks that they were not compiled for")


def places_of(arrays: Sequence[Tensor]) -> "ctypes.Array[ctypes.c_void_p]":
    """Where arrays begin; to be kept until a call is over."""
    return (ctypes.c_void_p * len(arrays))(*(array.data_ptr() for array in arrays))


def check(array: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Refuse an array whose memory is not what the compiled code takes it for."""
    is_read = array.is_contiguous() and array.device.type == "cpu"
    if tuple(array.shape) != shape or array.dtype != dtype or not is_read:
        told = f"{tuple(array.shape)} {array.dtype} {array.device}{'' if is_read else ', not contiguous or not here'}"
        raise ValueError(f"compiled steps: received an array {told}, needed is {shape} {dtype} on the CPU, contiguous")
