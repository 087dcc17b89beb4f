"""A document becomes trials with what the store knows: the shapes of uploaded arrays, and which trials there are."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.errors import InvalidGrid
from service.grid import stacking
from service.grid.expansion import Expansion
from service.grid.extension import extended, lengthened, redrawn
from service.grid.fitting import Limits
from service.grid.garbage import no_search_for_garbage
from service.grid.outline import dataset_ids
from service.grid.points import Point
from service.grid.problems import Problems
from service.planning.plan import Plan
from service.planning.reading import read_plan
from service.questions.claimed_grids import read_claimed
from service.store import cluster, submissions
from service.store.datasets import dataset_shapes
from service.store.experiments import get_experiment
from service.store.known_trials import known_trials
from service.store.lengths import Lengths, lengths_of
from service.store.session import Store


def planned(store: Store, document: Mapping[str, Any], limits: Limits) -> tuple[Expansion, Plan | None]:
    """The trials of a document, and what it asks to be found; None where that is nothing. Raises InvalidGrid."""
    with no_search_for_garbage():
        claimed = read_claimed(document, limits, dataset_shapes(store, dataset_ids(document)))
        problems = Problems()
        plan = read_plan(document, claimed.expansion, claimed.claims, problems)
    problems.raise_as(InvalidGrid)
    return claimed.expansion, plan


def expanded(store: Store, document: Mapping[str, Any], limits: Limits) -> Expansion:
    """The trials of a document. Raises InvalidGrid."""
    return planned(store, document, limits)[0]


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
    with no_search_for_garbage():
        known = known_trials(store, expansion)
        new = [len(expansion.seeds) - len(known.get(at, ())) for at in range(len(expansion.points))]
        slots = cluster.live_slots(store) or os.cpu_count() or 1
        waiting = ((one, one.stack_key, count, one.steps) for one, count in zip(expansion.points, new, strict=True))
        trained: dict[str, Mapping[str, Any]] = {}
        estimate = stacking.estimate(waiting, slots, lambda point: (_Parts(point, trained), point.shape))
        shared = lengths_of(store, expansion, known)
    counts = len(expansion), sum(new), len(expansion) - sum(new)
    return Cost(*counts, estimate.stacks, round(estimate.seconds, 3), shared.continued, shared.from_zero)


class _Parts(Mapping[str, Any]):
    """Canonical settings of a point, each section made when it is asked for: of many stacks few are looked into."""

    def __init__(self, point: Point, trained: dict[str, Mapping[str, Any]]) -> None:
        self._point, self._trained = point, trained
        self._known: dict[str, Mapping[str, Any]] = {}

    def __getitem__(self, section: str) -> Any:
        if section not in self._known:
            self._known[section] = self._training() if section == "training" else self._point.part(section)
        return self._known[section]

    def _training(self) -> Mapping[str, Any]:
        """That of the point, made once for all that have the same."""
        text = self._point.part_text("training")
        if text not in self._trained:
            self._trained[text] = self._point.part("training")
        return self._trained[text]

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
    shared = lengths_of(store, expansion, known_trials(store, expansion))
    return submissions.extend_experiment(store, public_id, expansion, before, document, max_queued), shared


def _refuse_flow(expansion: Expansion, steps: int) -> None:
    """Refuse to train what has no steps for more of them. Raises InvalidGrid."""
    if not any("steps" in point.settings["training"] for point in expansion.points):
        told = "gradient_flow has a horizon and no steps: extend the axis training.horizon"
        raise InvalidGrid(f"steps: {told}", errors=[{"path": "steps", "message": told, "received": steps}])
