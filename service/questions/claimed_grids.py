"""A grid with its claims, as an experiment is submitted: what is wrong with either is told together. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nfa_kernels import names
from service.errors import InvalidGrid
from service.grid.data_shapes import Arrays
from service.grid.expansion import DEFAULT_LIMITS, Expansion, expand
from service.grid.fitting import Limits
from service.grid.outline import MAX_CLAIMS
from service.grid.problems import Problems
from service.questions.claim_forms import Claim, read_claims


class ClaimedGrid(NamedTuple):
    """A valid grid, expanded, and what is claimed about it."""

    expansion: Expansion
    claims: tuple[Claim, ...]


def read_claimed(
    document: Mapping[str, Any], limits: Limits = DEFAULT_LIMITS, datasets: Mapping[str, Arrays] | None = None
) -> ClaimedGrid:
    """Validate and expand a grid, and hold its claims against what its points measure; arguments as `expand`'s.

    Raises:
        InvalidGrid: with one entry per wrong field.
    """
    problems = Problems()
    written = document.get("claims")
    # what is no list, or too long a one, is told as a wrong field of the grid
    claims = read_claims(written[:MAX_CLAIMS], problems) if isinstance(written, list) else []
    expansion = expand(document, limits, datasets, problems)
    check_claims(claims, [point.settings["measure"] for point in expansion.points], problems)
    problems.raise_as(InvalidGrid)
    return ClaimedGrid(expansion, tuple(claims))


def check_claims(claims: Sequence[Claim], measured: Sequence[Mapping[str, Any]], problems: Problems) -> None:
    """Refuse claims about a metric or a layer that no point measures; without any point nothing is refused."""
    metrics = {name for measure in measured for name in measure["metrics"]}
    metrics |= {names.alignment_id(a) for measure in measured for a in measure.get("exponents", ())}
    layers = {layer for measure in measured for layer in measure["layers"]}
    for index, claim in enumerate(claims):
        if measured and claim.metric not in metrics:
            message = "is not measured: add it to measure.metrics"
            problems.add(f"claims[{index}].metric", message, received=claim.metric, allowed=sorted(metrics))
        if measured and isinstance(claim.layers, int) and claim.layers not in layers:
            message = "is not measured: add it to measure.layers"
            problems.add(f"claims[{index}].layer", message, received=claim.layer, allowed=sorted(layers))
