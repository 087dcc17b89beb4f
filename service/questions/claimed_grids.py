"""A grid with its claims, as an experiment is submitted: what is wrong with either is told together. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from service.errors import InvalidGrid
from service.grid.data_shapes import Arrays
from service.grid.expansion import DEFAULT_LIMITS, Expansion, expand
from service.grid.fitting import Limits
from service.grid.inputs import names_measured
from service.grid.outline import MAX_CLAIMS
from service.grid.points import Point
from service.grid.problems import Problems
from service.grid.reading import LAYERS, measured_names
from service.questions.claim_forms import Claim, read_claims
from service.questions.stops import check_stops


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
    check_claims(claims, _measured(expansion.points) if claims else [], problems)
    check_stops(document, expansion.points, problems)
    problems.raise_as(InvalidGrid)
    return ClaimedGrid(expansion, tuple(claims))


def _measured(points: Sequence[Point]) -> list[Mapping[str, Any]]:
    """Settings of points that measure different things, with the names of layers."""
    different = {(point.part_text("measure"), point.layers): point for point in points}
    return [point.settings | {LAYERS: point.layers} for point in different.values()]


def check_claims(claims: Sequence[Claim], settings: Sequence[Mapping[str, Any]], problems: Problems) -> None:
    """Refuse claims about a metric or a layer that no point measures; without any point nothing is refused.

    Args:
        claims: that have been read.
        settings: canonical, of every point, with the names of layers where they have some.
        problems: to note what is refused in.
    """
    metrics = {name for one in settings for name in names_measured(one["measure"])}
    measured = {layer for one in settings for layer in measured_names(one).items()}
    layers: list[int | str] = sorted({number for number, _ in measured})
    layers += sorted({name for _, name in measured if name is not None})
    for index, claim in enumerate(claims):
        if settings and claim.metric not in metrics:
            message = "is not measured: add it to measure.metrics"
            problems.add(f"claims[{index}].metric", message, received=claim.metric, allowed=sorted(metrics))
        if settings and claim.layers not in ("all", "network", *layers):
            message = "is not measured: add it to measure.layers"
            problems.add(f"claims[{index}].layer", message, received=claim.layer, allowed=layers)
