"""Metrics of products of matrices by compiled code: one call for a whole stack."""

import ctypes
import functools
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.linear import LOSS_FACTORS
from nfa_kernels.names import MEASURED_OUTPUTS
from nfa_kernels.native.call import LOSSES, MOST_LAYERS, check_done, of_sample, places_of
from nfa_kernels.native.linear_networks import SampleSet, sample_set
from nfa_kernels.native.networks import compiled
from nfa_kernels.networks import Architecture, Params

OF_NETWORK = ("train_loss", "test_loss", "gradient_norm", "weight_norm", "imbalance", "imbalance_relative", "modes")
OF_LAYER = (*("residual", "scale", "null_floor", "agop_rank", "best_exponent", "best_exponent_kind", "best_alignment"),)
_ASKS = {
    **{"gradient_norm": 1, "imbalance": 2, "imbalance_relative": 2, "modes": 4, "residual": 8},
    **dict.fromkeys(("best_exponent", "best_exponent_kind", "best_alignment"), 16),
}
"""What a metric costs where others do without."""
_LONGS = ("lanes", "layers", "is_single", "asks", "asked", "exponents", "points")
_DOUBLES = ("factor", "loss_factor", "threshold")


class _Measurement(ctypes.Structure):
    """As `struct measurement` of product_metrics.h has it."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in _LONGS),
        *((name, ctypes.c_double) for name in _DOUBLES),
        *((name, ctypes.c_void_p) for name in ("widths", "multipliers", "weights")),
        *((name, SampleSet) for name in ("set", "tests")),
        *((name, ctypes.c_void_p) for name in ("numbers", "powers", "log_gammas", "scan", "found", "ordinary")),
    )


class Wanted(NamedTuple):
    """What to find of every network."""

    metrics: frozenset[str]
    """Of OF_NETWORK, and of OF_LAYER at every layer below."""
    layers: tuple[int, ...]
    powers: tuple[tuple[float, ...], ...]
    """Of every layer the exponents of alignments; the first is the theory's."""
    threshold: float
    """End-to-end singular values above it are modes."""


class Found(NamedTuple):
    """In float64."""

    network: dict[str, Tensor]
    """(K,) by name; those not wanted are of no account."""
    layers: list[dict[str, Tensor]]
    """The same of every layer that was wanted."""
    alignments: list[list[Tensor]]
    """(K,) at every exponent of every layer."""
    others: list[int]
    """Networks of which none of this counts: numbers of theirs are none, or near to where squares of squares are."""


class Samples(NamedTuple):
    """Of every network, in float64: x (K, N, D) and y (K, N, C) as squared losses read them; also no rows."""

    x: Tensor
    y: Tensor


def product_metrics(
    architecture: Architecture, weights: Params, train: Samples, tests: Samples, loss: str, wanted: Wanted
) -> Found | None:
    """Metrics of a stack; None where the tensor library finds them.

    Args:
        architecture: shared by the stack.
        weights: W_1 .. W_L, each (K, H, D), in float32 or float64.
        train: what it is trained on.
        tests: held out.
        loss: name.
        wanted: metrics and layers.
    """
    library = compiled(torch.float64, "metrics") if _is_known(architecture, weights, (train, tests), loss) else None
    if library is None:
        return None
    # parts of one array, as along a flow, lie apart in a stack and together alone
    weights = tuple(one.contiguous() for one in weights)
    lanes, dtype = len(weights[0]), weights[0].dtype
    columns = len(wanted.powers[0]) if wanted.powers else 0
    width = len(OF_LAYER) + columns
    found = train.x.new_empty(len(OF_NETWORK) + len(wanted.layers) * width, lanes)
    ordinary, places = (ctypes.c_int64 * lanes)(), places_of(weights)
    fixed = _fixed(architecture, wanted)
    call = _Measurement(
        *(lanes, len(weights), dtype == torch.float32, sum({_ASKS.get(name, 0) for name in wanted.metrics})),
        *(len(wanted.layers), columns, len(fixed.scan), of_sample(loss, architecture.widths[-1], train.x.shape[1])),
        *(LOSS_FACTORS[loss](architecture.widths[-1]), wanted.threshold),
        *(ctypes.addressof(one) for one in (fixed.widths, fixed.multipliers, places)),
        *(sample_set(*train), sample_set(*tests)),
        *(ctypes.addressof(one) for one in (fixed.numbers, fixed.powers, fixed.log_gammas, fixed.scan)),
        *(found.data_ptr(), ctypes.addressof(ordinary)),
    )
    check_done(library.nfa_measure_products(ctypes.byref(call)))
    rows = [*found.unbind()]
    of_layers = [rows[at : at + width] for at in range(len(OF_NETWORK), len(rows), width)]
    return Found(
        dict(zip(OF_NETWORK, rows, strict=False)),
        [dict(zip(OF_LAYER, of_layer, strict=False)) for of_layer in of_layers],
        [of_layer[len(OF_LAYER) :] for of_layer in of_layers],
        [lane for lane, is_ordinary in enumerate(ordinary) if not is_ordinary],
    )


def _is_known(architecture: Architecture, weights: Params, sets: Sequence[Samples], loss: str) -> bool:
    """Whether outputs are the thin side of every layer, and few, and all arrays are as the compiled code reads them."""
    widths, dtype = architecture.widths, weights[0].dtype
    thin = architecture.is_product and widths[-1] <= min(MEASURED_OUTPUTS, *widths) and LOSSES.get(loss) == 0
    if not thin or len(weights) != architecture.depth or len(weights) > MOST_LAYERS:
        return False
    # `len` of an array takes as long as all the rest that is asked of it
    lanes, shapes = weights[0].shape[0], pairwise(widths)
    fit = dtype in (torch.float32, torch.float64) and all(
        one.shape == (lanes, after, before) and one.dtype == dtype
        for one, (before, after) in zip(weights, shapes, strict=True)
    )
    of_sets = [(one, width) for pair in sets for one, width in zip(pair, (widths[0], widths[-1]), strict=True)]
    fit &= all(one.dtype == torch.float64 and one.shape[::2] == (lanes, width) for one, width in of_sets)
    fit &= sets[0].x.shape[1] > 0 and all(pair.x.shape[1] == pair.y.shape[1] for pair in sets)
    return fit and all(one.is_cpu for one in (*weights, *(one for one, _ in of_sets)))


class _Fixed(NamedTuple):
    """Arrays of a call that are the same at every measurement of a stack."""

    widths: "ctypes.Array[ctypes.c_int64]"
    multipliers: "ctypes.Array[ctypes.c_double]"
    numbers: "ctypes.Array[ctypes.c_int64]"
    powers: "ctypes.Array[ctypes.c_double]"
    log_gammas: "ctypes.Array[ctypes.c_double]"
    scan: "ctypes.Array[ctypes.c_double]"


@functools.lru_cache(maxsize=64)
def _fixed(architecture: Architecture, wanted: Wanted) -> _Fixed:
    widths, factors, layers = architecture.widths, architecture.multipliers, wanted.layers
    # log of (prod_{j >= l} c_j^2)^a at the theory's exponent a
    log_gammas = [
        of_layer[0] * sum(2 * math.log(c) for c in factors[layer - 1 :])
        for layer, of_layer in zip(layers, wanted.powers, strict=True)
    ]
    powers = [exponent for of_layer in wanted.powers for exponent in of_layer]
    scan = scanned_exponents().tolist()
    return _Fixed(
        (ctypes.c_int64 * len(widths))(*widths),
        (ctypes.c_double * len(factors))(*factors),
        (ctypes.c_int64 * len(layers))(*layers),
        (ctypes.c_double * len(powers))(*powers),
        (ctypes.c_double * len(log_gammas))(*log_gammas),
        (ctypes.c_double * len(scan))(*scan),
    )


def scanned_exponents(device: torch.device | None = None) -> Tensor:
    """(A,) exponents that a best one is looked for around, in units of the spread of the log eigenvalues."""
    return torch.logspace(-5, 5, 96, dtype=torch.float64, device=device)
