"""Every metric of a stack at one step, by name, in float64, whatever the training's dtype.

One call measures all K networks. What several metrics share (a layer's spectrum, its pair with the Gram matrix, the
outputs on the training set) is computed once, and only if an asked metric needs it. Undefined is NaN; a lane that is
not finite or has collapsed is NaN in its own places and disturbs no other. Passes over the samples, forward and back,
have the dtype of the measured data; factorisations and everything behind them are float64.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nfa_kernels import literature, names
from nfa_kernels.alignment import null_floor, pair_alignment, scale
from nfa_kernels.asked import Asked, Measured, Needs, Request
from nfa_kernels.fact import fact_alignment
from nfa_kernels.gram import feature_velocity, gram_norm, gram_stable_rank
from nfa_kernels.measured_data import MeasuredData
from nfa_kernels.measured_products import measured_products
from nfa_kernels.networks import Architecture, Params, check_stack
from nfa_kernels.norms import norm
from nfa_kernels.similarity import pearson, pearson_offdiagonal, pearson_zero_diagonal
from nfa_kernels.subspaces import gram_agop_subspace, teacher_overlap
from nfa_kernels.tangent_kernel import ntk_movement
from nfa_kernels.views import LayerView, NetworkView


def measure(
    architecture: Architecture,
    weights: Params,
    data: MeasuredData,
    request: Request,
    loss: str,
    *,
    initial: Params | None = None,
    weight_decay: Tensor | None = None,
) -> Measured:
    """Measure a whole stack at one step.

    Args:
        architecture: shared by the stack.
        weights: parameters of the stack, biases included, any float dtype, at least one lane.
        data: from `measured_data`, for the same lanes.
        request: metric ids, layers and exponents.
        loss: name of the training loss.
        initial: parameters at step 0; only what `needs_initial` names reads them.
        weight_decay: (K,) the configured decay, or (K, L) of each layer; only fact_alignment reads it.
    Raises:
        ValueError: an unknown metric, a layer outside 1..L, weights that do not fit, or an argument that is missing.
    """

    def by_views(wanted: Request, lanes: Tensor | slice) -> Measured:
        some = tuple(weight[lanes] for weight in weights)
        first = None if initial is None else tuple(weight[lanes] for weight in initial)
        decay = None if weight_decay is None else weight_decay[lanes]
        own = data if lanes == slice(None) else data.select(lanes)
        return _by_views(architecture, some, wanted, Asked(own, loss, wanted.layers, first, decay, needs(wanted)))

    found = measured_products(architecture, weights, data, request, loss, by_views)
    return by_views(request, slice(None)) if found is None else found


def _by_views(architecture: Architecture, weights: Params, request: Request, asked: Asked) -> Measured:
    """Measure by what metrics share, each found when it is first read."""
    x = asked.data.x
    passed = tuple(weight.to(x.dtype) for weight in weights)
    check_stack(architecture, passed, x)
    network = NetworkView(architecture, passed if x.dtype == torch.float64 else weights, passed, asked)
    return measured(request, network, lambda layer: LayerView(network, layer))


def measured(request: Request, network: NetworkView, layer_view: Callable[[int], LayerView]) -> Measured:
    """Everything a request asks for, of a stack and its layers as the views show them.

    Raises:
        ValueError: an unknown metric, or an argument that is missing.
    """
    members = _members(request)
    found = {name: METRICS[name](network) for name in request.metrics if name in METRICS}
    asked = [name for name in request.metrics if name in LAYER_METRICS]
    layers: dict[int, dict[str, Tensor]] = {}
    parametrised: list[tuple[int, str, Tensor]] = []
    if asked or members:
        for layer in request.layers:
            view = layer_view(layer)
            layers[layer] = {name: LAYER_METRICS[name](view) for name in asked}
            parametrised += [
                (layer, name, FAMILIES[member.family](view, member.parameter)) for name, member in members.items()
            ]
    return Measured(found, layers, parametrised)


def needs_initial(metrics: tuple[str, ...]) -> bool:
    """Whether some of these metrics read the weights at step 0."""
    return not {"nfa_dnfa", "nfa_agopfl", "c_nfa", "ntk_movement"}.isdisjoint(metrics)


def needs_kernels(metrics: tuple[str, ...]) -> bool:
    """Whether some of these metrics read tangent kernels, for which data are prepared with the first samples."""
    return not {"ntk_alignment", "ntk_movement"}.isdisjoint(metrics)


def needs_teacher(metrics: tuple[str, ...]) -> bool:
    """Whether some of these metrics read what the teacher's targets depend on."""
    return any(name.startswith("teacher_overlap@") for name in metrics)


def needs(request: Request) -> Needs:
    """What the asked metrics read; none of a layer's without layers.

    Raises:
        ValueError: an unknown metric.
    """
    asked = {*request.metrics, *_members(request)} if request.layers else {*request.metrics}.difference(LAYER_METRICS)
    of_layers = asked.difference(METRICS)
    return Needs(
        gradients=not asked.isdisjoint(("gradient_norm", "fact_alignment", "feature_velocity")),
        agop=not of_layers.issubset(_WITHOUT_AGOP),
        preactivations=not asked.isdisjoint(("uc_nfa", "c_nfa")),
    )


_WITHOUT_AGOP = frozenset(
    {"uc_nfa", "c_nfa", "fact_alignment", "feature_velocity", "layer_imbalance", "gram_norm", "gram_stable_rank"}
)


def _members(request: Request) -> dict[str, names.FamilyMember]:
    """Members of families by id, in the order asked for; alignments at the further exponents first."""
    members = {names.alignment_id(a): names.FamilyMember("alignment", a) for a in request.exponents}
    unknown = []
    for name in request.metrics:
        member = names.family_member(name)
        if member is not None:
            members.setdefault(name, member)
        elif name not in names.METRICS:
            unknown.append(name)
    if unknown:
        allowed = ", ".join((*names.METRICS, *names.METRIC_FAMILIES))
        raise ValueError(f"metrics: received {', '.join(unknown)}, allowed are {allowed}")
    return members


def _decay_of(layer: LayerView) -> Tensor:
    """(K,) the decay of a layer's weights."""
    decay = layer.network.weight_decay
    return decay if decay.ndim == 1 else decay[:, layer.layer - 1]


def _overlap_of(layer: LayerView, r: int) -> Tensor:
    """(K,) with the teacher; NaN of layers that do not read the inputs."""
    found = teacher_overlap(layer.agop, layer.network.data.teacher, r)
    return found if layer.reads_inputs else torch.full_like(found, torch.nan)


METRICS: dict[str, Callable[[NetworkView], Tensor]] = {
    "train_loss": lambda network: network.train_loss,
    "test_loss": lambda network: network.test_loss,
    "relative_loss": lambda network: network.relative_loss,
    "gradient_norm": lambda network: network.gradient_norm,
    "weight_norm": lambda network: norm(network.weights),
    "imbalance": lambda network: network.imbalance.absolute,
    "imbalance_relative": lambda network: network.imbalance.relative,
    "accuracy": lambda network: network.accuracy,
    "modes": lambda network: network.modes,
    "generalisation_gap": lambda network: network.test_loss - network.train_loss,
    "sharpness": lambda network: network.sharpness,
    "ntk_alignment": lambda network: network.ntk_alignment,
    "ntk_movement": lambda network: ntk_movement(network.tangent_kernel, network.initial_tangent_kernel),
}
"""Network metrics: name -> (K,) float64."""

LAYER_METRICS: dict[str, Callable[[LayerView], Tensor]] = {
    "alignment": lambda layer: pair_alignment(layer.pair, layer.theory_exponent),
    "alignment_half": lambda layer: pair_alignment(layer.pair, 0.5),
    "alignment_one": lambda layer: pair_alignment(layer.pair, 1.0),
    "residual": lambda layer: layer.residual,
    "scale": lambda layer: scale(layer.pair, layer.theory_exponent),
    "best_exponent": lambda layer: layer.best.exponent,
    "best_exponent_kind": lambda layer: layer.best.kind,
    "best_alignment": lambda layer: layer.best.alignment,
    "null_floor": lambda layer: null_floor(layer.pair, layer.theory_exponent),
    "agop_rank": lambda layer: layer.agop_rank,
    "pearson": lambda layer: pearson(layer.gram, layer.theory_power),
    "pearson_offdiagonal": lambda layer: pearson_offdiagonal(layer.gram, layer.theory_power),
    "pearson_half": lambda layer: pearson(layer.gram, layer.root),
    "pearson_half_zero_diagonal": lambda layer: pearson_zero_diagonal(layer.gram, layer.root),
    "nfa_dnfa": lambda layer: literature.nfa_dnfa(layer.change, layer.agop),
    "nfa_agopfl": lambda layer: literature.nfa_agopfl(layer.change, layer.agop),
    "uc_nfa": lambda layer: literature.uc_nfa(layer.weight, layer.preactivation_factor),
    "c_nfa": lambda layer: literature.c_nfa(layer.change, layer.preactivation_factor),
    "fact_alignment": lambda layer: fact_alignment(
        layer.weight,
        layer.weight_gradient,
        _decay_of(layer),
        layer.network.relative_loss,
    ),
    "layer_imbalance": lambda layer: layer.imbalance,
    "feature_velocity": lambda layer: feature_velocity(layer.weight, layer.weight_gradient, _decay_of(layer)),
    "gram_norm": lambda layer: gram_norm(layer.weight),
    "agop_norm": lambda layer: layer.agop.norm,
    "gram_stable_rank": lambda layer: gram_stable_rank(layer.weight),
    "agop_stable_rank": lambda layer: layer.agop.stable_rank,
}
"""Layer metrics: name -> (K,) float64."""

FAMILIES: dict[str, Callable[[LayerView, float], Tensor]] = {
    "alignment": lambda layer, exponent: pair_alignment(layer.pair, exponent),
    "agop_singular_value": lambda layer, index: layer.agop.singular_value(int(index)),
    "gram_agop_subspace": lambda layer, r: gram_agop_subspace(layer.gram_spectrum, layer.agop, int(r)),
    "teacher_overlap": lambda layer, r: _overlap_of(layer, int(r)),
}
"""Families of layer metrics: name before the @ -> (K,) float64 at a parameter."""
