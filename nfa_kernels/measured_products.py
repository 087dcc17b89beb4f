"""Measurements of products of matrices, whose default metrics compiled code finds in one call for the whole stack.

What it does not know is found as ever, and so is all of a network whose numbers come near to where squares of squares
under- or overflow. A metric's value depends neither on what else is asked for nor on the other networks.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.asked import Measured, Request
from nfa_kernels.measured_data import MeasuredData
from nfa_kernels.metric_names import alignment_id, family_member
from nfa_kernels.native.product_metrics import OF_LAYER, OF_NETWORK, Found, Samples, Wanted, product_metrics
from nfa_kernels.networks import Architecture, Params
from nfa_kernels.views import MODE_THRESHOLD

_FROM_LOSSES = {"relative_loss": ("train_loss",), "generalisation_gap": ("train_loss", "test_loss")}
_AT_EXPONENTS = ("alignment", "alignment_half", "alignment_one")
_NETWORK = frozenset((*OF_NETWORK, *_FROM_LOSSES, "accuracy"))
_LAYER = frozenset((*OF_LAYER, *_AT_EXPONENTS))


class _Plan(NamedTuple):
    """What is found by whom."""

    known: Request
    """By compiled code."""
    wanted: Wanted
    at_exponents: dict[str, int]
    """Alignments by id, and which of a layer's exponents they are at."""
    unknown: Request | None
    """By everything else."""


def measured_products(
    architecture: Architecture,
    weights: Params,
    data: MeasuredData,
    request: Request,
    loss: str,
    otherwise: Callable[[Request, Tensor | slice], Measured],
) -> Measured | None:
    """Everything that a request asks for of a stack; None where compiled code has no part in it.

    Args:
        architecture: shared by the stack.
        weights: parameters of the stack.
        data: what they are measured on.
        request: metrics, layers and exponents.
        loss: name of the training loss.
        otherwise: measures what else there is, of these networks.
    """
    plan = (
        _plan(architecture, request, names_classes=data.classified_x.shape[1] > 0) if architecture.is_product else None
    )
    if plan is None:
        return None
    sets = Samples(data.x, data.y), Samples(data.x_test, data.y_test)
    found = product_metrics(architecture, weights, *sets, loss, plan.wanted)
    if found is None:
        return None
    own = _named(plan, found, data.zero_loss)
    if found.others:
        others = torch.tensor(found.others)
        _put(own, others, otherwise(plan.known, others))
    return own if plan.unknown is None else _joined(own, otherwise(plan.unknown, slice(None)))


@functools.lru_cache(maxsize=64)
def _plan(architecture: Architecture, request: Request, *, names_classes: bool) -> _Plan | None:
    """None where nothing is known, or something is to be refused. Where no targets name classes, accuracy is NaN."""
    exponents = {alignment_id(exponent): exponent for exponent in request.exponents}
    for name in request.metrics:
        member = family_member(name)
        if member is not None and member.family == "alignment":
            exponents.setdefault(name, member.parameter)
    known, depth = {*_NETWORK, *_LAYER, *exponents} - ({"accuracy"} if names_classes else set()), architecture.depth
    mine = tuple(name for name in request.metrics if name in known)
    rest = tuple(name for name in request.metrics if name not in known)
    is_allowed = all(0 < one < math.inf for one in exponents.values()) and all(1 <= n <= depth for n in request.layers)
    if not (mine or exponents) or not is_allowed:
        return None
    layers = request.layers if exponents or not _LAYER.isdisjoint(mine) else ()
    needed = {*mine, *itertools.chain.from_iterable(_FROM_LOSSES.get(name, ()) for name in mine)}
    powers = tuple((1 / (depth - layer + 1), 0.5, 1.0, *exponents.values()) for layer in layers)
    at_exponents = {name: place for place, name in enumerate((*_AT_EXPONENTS, *exponents))}
    return _Plan(
        Request(mine, request.layers, request.exponents),
        Wanted(frozenset(needed), layers, powers, MODE_THRESHOLD),
        at_exponents,
        Request(rest, request.layers) if rest else None,
    )


def _named(plan: _Plan, found: Found, zero_loss: Tensor) -> Measured:
    """What compiled code has found by the names that it was asked by."""

    def of_network(name: str) -> Tensor:
        if name == "relative_loss":
            return found.network["train_loss"] / zero_loss
        if name == "generalisation_gap":
            return found.network["test_loss"] - found.network["train_loss"]
        return torch.full_like(zero_loss, torch.nan) if name == "accuracy" else found.network[name]

    asked = [name for name in plan.known.metrics if name in _LAYER]
    members = [name for name in plan.at_exponents if name not in _AT_EXPONENTS]
    layers, parametrised = dict[int, dict[str, Tensor]](), list[tuple[int, str, Tensor]]()
    for layer, values, alignments in zip(plan.wanted.layers, found.layers, found.alignments, strict=True):
        at = plan.at_exponents
        layers[layer] = {name: alignments[at[name]] if name in at else values[name] for name in asked}
        parametrised += [(layer, name, alignments[at[name]]) for name in members]
    return Measured({name: of_network(name) for name in plan.known.metrics if name in _NETWORK}, layers, parametrised)


def _put(into: Measured, lanes: Tensor, found: Measured) -> None:
    """Write what was found of some networks where it belongs."""
    for name, values in found.network.items():
        into.network[name][lanes] = values
    for layer, of_layer in found.layers.items():
        for name, values in of_layer.items():
            into.layers[layer][name][lanes] = values
    for (*_, values), (*_, of_lanes) in zip(into.parametrised, found.parametrised, strict=True):
        values[lanes] = of_lanes


def _joined(one: Measured, other: Measured) -> Measured:
    """Both: they name different metrics."""
    layers = {n: one.layers.get(n, {}) | other.layers.get(n, {}) for n in (*one.layers, *other.layers)}
    return Measured(one.network | other.network, layers, [*one.parametrised, *other.parametrised])
