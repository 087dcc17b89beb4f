"""The exponent at which a layer's Gram matrix and the power of its AGOP align best.

d log alignment / da = E_{q g^a}[log g] - E_{g^2a}[log g], q_i = v_i^T M v_i. A scan over exponents finds the highest
peak, then a safeguarded Newton iteration finds the root of the derivative to 1e-12: maximising the cosine itself
would stop at 1e-8, where its values no longer change.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.alignment import LayerPair
from nfa_kernels.at_once import is_cached
from nfa_kernels.native.metrics import best_exponents
from nfa_kernels.native.product_metrics import scanned_exponents

INTERIOR, LOWER, UPPER, FLAT = range(4)
_FLAT_SPREAD = 1e-9
_UNASKED_STEPS = 10
"""Steps between two questions to a device."""


class BestExponent(NamedTuple):
    """Each (K,), float64: the exponent (NaN unless interior), where it lies (a code of `names`), sup of the cosine."""

    exponent: Tensor
    kind: Tensor
    alignment: Tensor


def best_exponent(pair: LayerPair) -> BestExponent:
    """The best exponent of each stacked network; NaN in all three where the alignment is undefined."""
    exponents = scanned_exponents(pair.gram_norm.device)
    found = best_exponents(pair.spectrum.log_values, pair.projections, pair.gram_norm, exponents)
    return _by_tensors(pair, exponents) if found is None else BestExponent(*found)


def _by_tensors(pair: LayerPair, exponents: Tensor) -> BestExponent:
    """The same for a whole stack at once."""
    kept = pair.spectrum.log_values.isfinite()
    logs = torch.where(kept, pair.spectrum.log_values - pair.spectrum.log_values[:, :1], 0.0)
    spread = -logs.amin(-1)
    flat = spread < _FLAT_SPREAD
    # in units of the spread every spectrum is scanned alike
    unit = torch.where(flat, 1.0, spread)
    logs = logs / unit[:, None]
    scanned = _cosines(pair, logs, kept, exponents)
    lower = _cosines(pair, logs, kept, exponents.new_zeros(1))[:, 0]
    upper = _top_cosine(pair, logs, kept)
    peak, place = scanned.nan_to_num(nan=-1.0).max(-1)
    place = place.clamp(1, len(exponents) - 2)
    root = _root(pair, logs, kept, exponents[place - 1], exponents[place + 1], pair.gram_norm.isfinite() & ~flat)
    at_root = _cosines(pair, logs, kept, root[:, None])[:, 0]
    best = torch.stack([torch.maximum(at_root, peak), lower, upper])
    # a limit wins a tie: approaching it the cosine is constant to rounding
    slack = 1 - 4 * torch.finfo(torch.float64).eps
    kind = torch.where(lower >= best[0] * slack, LOWER, INTERIOR)
    kind = torch.where((upper >= best[0] * slack) & (upper >= lower), UPPER, kind)
    kind = torch.where(flat, FLAT, kind).to(torch.float64)
    defined = pair.gram_norm.isfinite() & (pair.projections.sum(-1) > 0)
    nan = torch.full_like(root, torch.nan)
    return BestExponent(
        torch.where(defined & (kind == INTERIOR), root / unit, nan),
        torch.where(defined, kind, nan),
        torch.where(defined, torch.where(flat, lower, best.amax(0)), _zero_or_nan(pair)),
    )


def _zero_or_nan(pair: LayerPair) -> Tensor:
    """0 where M does not meet range(G) but both exist, NaN where one does not."""
    return torch.where(pair.gram_norm.isfinite(), 0.0, torch.nan)


def _cosines(pair: LayerPair, logs: Tensor, kept: Tensor, exponents: Tensor) -> Tensor:
    """cos(M, G^a): (K, A) for exponents (A,) shared or (K, A) per network, in units of the spread."""
    exponents = exponents if exponents.ndim == 2 else exponents[None]
    powers = torch.exp(exponents[:, :, None] * logs[:, None, :]) * kept[:, None, :]
    products = (powers * pair.projections[:, None, :]).sum(-1)
    return products / (pair.gram_norm[:, None] * powers.square().sum(-1).sqrt())


def _top_cosine(pair: LayerPair, logs: Tensor, kept: Tensor) -> Tensor:
    """The limit of a large exponent: the projector on the largest eigenvalue's eigenvectors, (K,)."""
    top = (kept & (logs > -1e-9)).to(logs.dtype)
    return (top * pair.projections).sum(-1) / (pair.gram_norm * top.sum(-1).sqrt())


class _Search(NamedTuple):
    """Networks whose root is still looked for: their places in the stack, brackets, and what the derivative reads."""

    place: Tensor
    low: Tensor
    high: Tensor
    point: Tensor
    logs: Tensor
    kept: Tensor
    projections: Tensor
    unsettled: Tensor

    def select(self, lanes: Tensor) -> "_Search":
        """Those of a mask."""
        places = lanes.nonzero()[:, 0]
        return _Search(*(part[places] for part in self))


def _root(pair: LayerPair, logs: Tensor, kept: Tensor, low: Tensor, high: Tensor, wanted: Tensor) -> Tensor:
    """Root of the derivative of log cos in [low, high], (K,), by Newton steps kept inside a shrinking bracket.

    A lane that is not wanted, or whose cosine rises or falls throughout, has no root and stays at its middle. Each of
    the others is followed until it settles, which most do in three steps, and not longer for the sake of another. A
    device is asked only every so many steps which these are: until then they stay where they settled.
    """
    middle = (low * high).sqrt()
    unsettled = torch.ones_like(middle, dtype=torch.bool)
    places, every = torch.arange(len(low), device=low.device), 1 if is_cached(low) else _UNASKED_STEPS
    search = _Search(places, low, high, middle, logs, kept, pair.projections, unsettled)
    at_low, at_high = (_derivatives(search._replace(point=end))[0] for end in (low, high))
    search = search.select(wanted & (at_low > 0) & (at_high < 0))
    found = middle.clone()
    for number in range(1, 61):
        if len(search.place) == 0:
            break
        slope, curvature = _derivatives(search)
        rising = slope > 0
        low, high = torch.where(rising, search.point, search.low), torch.where(rising, search.high, search.point)
        newton = search.point - slope / curvature
        # at the root itself it stays where it is, on the edge of the bracket
        inside = (newton >= low) & (newton <= high) & (curvature < 0)
        following = torch.where(inside, newton, (low + high) / 2)
        following = torch.where(search.unsettled, following, search.point)
        nearest = 1e-14 * search.point
        unsettled = ((following - search.point).abs() > nearest) & (high - low > nearest)
        found[search.place] = following
        search = search._replace(low=low, high=high, point=following, unsettled=unsettled)
        if number % every == 0 and not bool(unsettled.all()):
            search = search.select(unsettled)
    return found


def _derivatives(search: _Search) -> tuple[Tensor, Tensor]:
    """First and second derivative of log cos(M, G^a) with respect to a, each (K,), at the points."""
    power = torch.exp(search.point[:, None] * search.logs) * search.kept
    mean_m, variance_m = _moments(power * search.projections, search.logs)
    mean_g, variance_g = _moments(power.square(), search.logs)
    return mean_m - mean_g, variance_m - 2 * variance_g


def _moments(weights: Tensor, logs: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and variance of the log eigenvalues, each (K,)."""
    share = weights / weights.sum(-1, keepdim=True)
    mean = (share * logs).sum(-1)
    return mean, (share * (logs - mean[:, None]).square()).sum(-1)
