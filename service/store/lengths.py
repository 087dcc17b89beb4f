"""Which of a grid's new trials would go on from shorter ones, were it submitted now; and why others would not."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import and_, exists, or_, select

from service.grid.beginnings import NO_STATE, beginning, hindrance, of_seed, shorter_ones
from service.grid.expansion import Expansion
from service.states import ENDED, TrialState
from service.store.beginnings import Wish, choose
from service.store.keys import among_words
from service.store.measured_models import kept_state
from service.store.models import trial
from service.store.session import Store


@dataclass(frozen=True, slots=True)
class Lengths:
    """New trials that are longer than others."""

    continued: int = 0
    """Go on from where a shorter one ends."""
    from_zero: Mapping[str, int] = field(default_factory=dict)
    """Begin at the beginning although there are shorter ones: why -> how many."""


def lengths_of(store: Store, expansion: Expansion, known: Collection[str]) -> Lengths:
    """Look for shorter trials among a grid's own and in the store.

    Args:
        store: where other trials are.
        expansion: of the grid.
        known: fingerprints of its trials that the store has already.
    """
    points, seeds = expansion.points, expansion.seeds
    shorter = shorter_ones(points) if "training.steps" in expansion.axes else {}
    prints = expansion.fingerprints
    at = len(seeds)
    new = {place: fingerprint for place, fingerprint in enumerate(prints) if fingerprint not in known}
    stored = _stored(store, expansion, new)
    sources = {prints[other * at + n] for place in shorter for other in shorter[place] for n in range(at)}
    keeping = _keeping(store, sources & known if isinstance(known, frozenset) else sources.intersection(known))
    continued, why = 0, Counter[str]()
    hindrances: dict[tuple[int, int], str | None] = {}
    for place in new:
        point, seed = divmod(place, at)
        reasons = []
        for other in shorter.get(point, ()):
            pair = other, point
            if pair not in hindrances:
                hindrances[pair] = hindrance(points[other].settings, points[point].settings)
            source = prints[other * at + seed]
            has_state = keeping.get(source, points[other].keeps) if source in known else points[other].keeps
            reasons.append(hindrances[pair] or (None if has_state else NO_STATE))
        if None in reasons or place in stored:
            continued += 1
        elif reasons:
            why[str(reasons[0])] += 1
    return Lengths(continued, dict(why))


def _keeping(store: Store, prints: Collection[str]) -> dict[str, bool]:
    """Whether trials that exist have kept their state, or will if they are asked now."""
    has_state = exists().where(kept_state.c.trial_id == trial.c.id)
    can = or_(
        and_(trial.c.state == TrialState.COMPLETED, has_state, trial.c.kept_every == 1),
        and_(trial.c.state.not_in(ENDED), trial.c.keeps),
    )
    with store.read() as connection:
        query = select(trial.c.fingerprint, trial.c.state, can.label("can"))
        rows = connection.execute(query.where(among_words(connection, trial.c.fingerprint, list(prints)))).all()
    # one that waits can still be asked to
    return {row.fingerprint: bool(row.can) for row in rows if row.can or row.state != TrialState.QUEUED}


def _stored(store: Store, expansion: Expansion, new: Mapping[int, str]) -> frozenset[int]:
    """Places of new trials that could go on from what other grids have kept, or are training."""
    with store.read() as connection:
        if connection.scalar(select(1).where(trial.c.beginning.is_not(None)).limit(1)) is None:
            return frozenset()
        at = len(expansion.seeds)
        keys = {point: beginning(expansion.points[point].settings) for point in {place // at for place in new}}
        wishes = [
            Wish(place, of_seed(key, expansion.seeds[place % at]), -1 - place // at)
            for place in new
            if (key := keys[place // at]) is not None
        ]
        documents = {-1 - point: expansion.points[point].settings for point in keys}
        return frozenset(choose(connection, wishes, documents))
