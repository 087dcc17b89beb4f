"""A document becomes trials with what the store knows: the shapes of uploaded arrays, and which trials there are."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.errors import InvalidGrid
from service.grid import cost, stacking
from service.grid.data_shapes import DataShape
from service.grid.expansion import Expansion
from service.grid.extension import extended, lengthened, redrawn
from service.grid.fitting import Limits
from service.grid.outline import dataset_ids
from service.grid.points import Point
from service.grid.problems import Problems
from service.planning.reading import read_plan
from service.questions.claimed_grids import read_claimed
from service.store import cluster, submissions
from service.store.datasets import dataset_shapes
from service.store.experiments import get_experiment
from service.store.lengths import Lengths, lengths_of
from service.store.session import Store


def expanded(store: Store, document: Mapping[str, Any], limits: Limits) -> Expansion:
    """The trials of a document. Raises InvalidGrid."""
    claimed = read_claimed(document, limits, dataset_shapes(store, dataset_ids(document)))
    problems = Problems()
    read_plan(document, claimed.expansion, claimed.claims, problems)
    problems.raise_as(InvalidGrid)
    return claimed.expansion


@dataclass(frozen=True, slots=True)
class Cost:
    """What a grid would cost, were it submitted now."""

    trials: int
    new: int
    reused: int
    stacks: int
    estimated_seconds: float
    continued: int
    """New trials that go on from where a shorter one ends; the seconds count them from the beginning."""
    from_zero: Mapping[str, int]
    """New trials that are longer than others and begin at the beginning: why -> how many."""


def cost_of(store: Store, expansion: Expansion) -> Cost:
    """Count trials, stacks and seconds; nothing is stored."""
    prints = expansion.fingerprints
    known, seeds = submissions.known_fingerprints(store, prints), len(expansion.seeds)
    new = [sum(one not in known for one in prints[start : start + seeds]) for start in range(0, len(prints), seeds)]
    slots = cluster.live_slots(store) or os.cpu_count() or 1
    estimate = stacking.estimate(_alike(expansion.points, new), slots)
    total, shared = len(expansion), lengths_of(store, expansion, known)
    counts = total, sum(new), total - sum(new)
    return Cost(*counts, estimate.stacks, round(estimate.seconds, 3), shared.continued, shared.from_zero)


def _alike(points: Sequence[Point], new: Sequence[int]) -> Iterator[tuple[Mapping[str, Any], str, DataShape, int]]:
    """Points that cost the same as one of them with all their new seeds, as `stacking.estimate` takes them."""
    first: dict[tuple[str, int], Point] = {}
    counts: dict[tuple[str, int], int] = {}
    known: dict[str, Mapping[str, Any]] = {}
    for point, count in zip(points, new, strict=True):
        if not count:
            continue
        text = point.part_text("training")
        if text not in known:
            known[text] = point.part("training")
        alike = point.stack_key, cost.updates_of(known[text])
        first.setdefault(alike, point)
        counts[alike] = counts.get(alike, 0) + count
    for alike, point in first.items():
        yield _Parts(point, known[point.part_text("training")]), point.stack_key, point.shape, counts[alike]


class _Parts(Mapping[str, Any]):
    """Canonical settings of a point, each section made when it is asked for: of many stacks few are looked into."""

    def __init__(self, point: Point, training: Mapping[str, Any]) -> None:
        self._point, self._known = point, {"training": training}

    def __getitem__(self, section: str) -> Any:
        if section not in self._known:
            self._known[section] = self._point.part(section)
        return self._known[section]

    def __iter__(self) -> Iterator[str]:
        return iter(self._point.settings)

    def __len__(self) -> int:
        return len(self._point.settings)


def widen_experiment(
    store: Store,
    public_id: str,
    axes: Mapping[str, Sequence[Any]],
    seeds: int | Sequence[int],
    limits: Limits,
    max_queued: int | None,
    *,
    steps: int | None = None,
    sample: int | None = None,
) -> tuple[submissions.Created, Lengths]:
    """Widen an experiment's grid to the union of its own and the given values and seeds; only what is new is run.

    With `sample`, more than it has, so many points are sampled. With `steps`, more than it has, each point is trained
    for so many too, from where it ended if its state is kept.

    Returns:
        What was made, and what becomes of the new trials that are longer than others.

    Raises:
        NotFound, InvalidGrid, Conflict, TooMany.
    """
    before = get_experiment(store, public_id).grid
    wider = before if sample is None else redrawn(before, sample)
    try:
        document = extended(wider, axes, seeds) if steps is None else lengthened(wider, axes, seeds, steps)
    except InvalidGrid:
        if steps is not None:
            _refuse_flow(expanded(store, before, limits), steps)
        raise
    expansion = expanded(store, document, limits)
    if steps is not None:
        _refuse_flow(expansion, steps)
    prints = expansion.fingerprints
    shared = lengths_of(store, expansion, submissions.known_fingerprints(store, prints))
    return submissions.extend_experiment(store, public_id, expansion, before, document, max_queued), shared


def _refuse_flow(expansion: Expansion, steps: int) -> None:
    """Refuse to train what has no steps for more of them. Raises InvalidGrid."""
    if not any("steps" in point.settings["training"] for point in expansion.points):
        told = "gradient_flow has a horizon and no steps: extend the axis training.horizon"
        raise InvalidGrid(f"steps: {told}", errors=[{"path": "steps", "message": told, "received": steps}])
