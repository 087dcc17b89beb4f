"""Which of a grid's new trials would go on from shorter ones, were it submitted now; and why others would not.

Of many trials some are looked at, evenly, and tell about all: each takes a tenth of a millisecond, and a grid may have
a hundred thousand lengths.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from sqlalchemy import and_, exists, or_, select

from service.grid import canonical
from service.grid.beginnings import MOST_LOOKED_AT, beginning, of_seed
from service.grid.expansion import Expansion
from service.grid.lengths import NO_STATE, NONE_LEFT, First, Shorter
from service.states import ENDED, TrialState
from service.store.beginnings import Wish, choose
from service.store.keys import among_words
from service.store.measured_models import kept_state
from service.store.models import trial
from service.store.session import Store

MOST_POINTS: Final = 2_000
"""Points of which it is known where they begin and are measured."""
MOST_TRIALS: Final = 2_000
"""Longer trials that are looked at, and others for which the store is asked."""
MOST_LISTED: Final = 300_000
"""Measured steps that are listed to be compared, of all points together."""

Trial = tuple[int, int]
"""Place of its point, and its seed."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """New trials that are longer than others; of many about as many as are told."""

    continued: int = 0
    """Go on from where a shorter one ends."""
    from_zero: Mapping[str, int] = field(default_factory=dict)
    """Begin at the beginning although there are shorter ones: why -> how many."""


def lengths_of(store: Store, expansion: Expansion, known: Mapping[int, Set[int]]) -> Lengths:
    """Look for shorter trials among a grid's own and in the store.

    Args:
        store: where other trials are.
        expansion: of the grid.
        known: place of a point -> those of its seeds with which the store has it already.
    """
    shorter = Shorter(expansion.points if "training.steps" in expansion.axes else ())
    new = _New(expansion, known)
    longer = shorter.longer
    looking = _Looking(store, expansion, shorter, known)
    found = Counter[str | None]()
    looked = list(new.some(looking.few(longer), MOST_TRIALS))
    stored = _stored(store, expansion, looked)
    for one, why in looking.at(looked):
        found[None if one in stored else why] += 1
    counts = _scaled(found, len(looked), new.count(longer))
    others = sorted(set(range(len(expansion.points))).difference(longer))
    asked = list(new.some(others, MOST_TRIALS))
    alone = Counter[str | None]({None: len(_stored(store, expansion, asked))})
    continued = counts.pop(None, 0) + _scaled(alone, len(asked), new.count(others)).get(None, 0)
    return Lengths(continued, {why: count for why, count in counts.items() if why is not None})


def _scaled(found: Mapping[str | None, int], looked: int, of: int) -> dict[str | None, int]:
    """What was found of some trials as it is of all of them; what was never found is left out."""
    return {why: round(count * of / looked) for why, count in found.items() if count}


class _New:
    """Trials that the store has not."""

    def __init__(self, expansion: Expansion, known: Mapping[int, Set[int]]) -> None:
        self._seeds, self._known = expansion.seeds, known

    def count(self, places: Sequence[int]) -> int:
        return sum(len(self._seeds) - len(self._known.get(place, ())) for place in places)

    def some(self, places: Sequence[int], most: int) -> Iterator[Trial]:
        """At most about so many of those of some points, evenly."""
        every = -(-len(places) * len(self._seeds) // most) or 1
        # by points first: seeds of one are alike
        seeds = self._seeds[:: min(every, len(self._seeds))] if len(places) <= most else self._seeds[:1]
        for place in places[:: max(1, -(-len(places) * len(seeds) // most))]:
            there = self._known.get(place, frozenset())
            own = seeds if not there else [seed for seed in self._seeds if seed not in there][: len(seeds)]
            yield from ((place, seed) for seed in own)


class _Looking:
    """Looks at longer trials, each of whose points is looked at once."""

    def __init__(self, store: Store, expansion: Expansion, shorter: Shorter, known: Mapping[int, Set[int]]) -> None:
        self._store, self._shorter, self._known = store, shorter, known
        self._points = expansion.points
        self._print = canonical.fingerprinter()
        self._first = cache(lambda place: First.of(self._points[place].settings))
        self._hindrance = cache(lambda place, other: self._first(place).hindrance(self._first(other)))

    def few(self, longer: Sequence[int]) -> Sequence[int]:
        """So many of the longer points that those which they are held against can be looked at."""
        if not longer:
            return longer
        listed = max(self._first(place).listed for place in longer[:: -(-len(longer) // 20)])
        most = min(MOST_POINTS, MOST_LISTED // max(1, listed))
        near = max(len(self._shorter.of(place)) for place in longer[:: -(-len(longer) // 200)])
        if len(longer) + MOST_LOOKED_AT <= most:
            return longer
        return longer[:: -(-len(longer) * (1 + near) // max(1, most))]

    def at(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, str | None]]:
        """Why each of these trials begins at the beginning; None if it does not, and none that has none shorter."""
        states = self._states(trials)
        for place, seed in trials:
            reasons = []
            for other in self._shorter.of(place):
                is_known = seed in self._known.get(other, ())
                has_state = (
                    states.get((other, seed), self._points[other].keeps) if is_known else self._points[other].keeps
                )
                without = NONE_LEFT if self._points[other].keeps else NO_STATE
                reasons.append(self._hindrance(place, other) or (None if has_state else without))
                if reasons[-1] is None:
                    break
            if reasons:
                yield (place, seed), None if reasons[-1] is None else reasons[0]

    def _states(self, trials: Sequence[Trial]) -> dict[Trial, bool]:
        """Whether shorter trials that exist have kept their state, or will if they are asked now."""
        prints = {
            self._print(self._points[other].text, seed): (other, seed)
            for place, seed in trials
            for other in self._shorter.of(place)
            if seed in self._known.get(other, ())
        }
        return {prints[one]: can for one, can in _keeping(self._store, list(prints)).items()} if prints else {}


def _keeping(store: Store, prints: Sequence[str]) -> dict[str, bool]:
    """Whether trials that exist have kept their state, or will if they are asked now."""
    has_state = exists().where(kept_state.c.trial_id == trial.c.id)
    can = or_(
        and_(trial.c.state == TrialState.COMPLETED, has_state, trial.c.kept_every == 1),
        and_(trial.c.state.not_in(ENDED), trial.c.keeps),
    )
    with store.read() as connection:
        query = select(trial.c.fingerprint, trial.c.state, can.label("can"))
        rows = connection.execute(query.where(among_words(connection, trial.c.fingerprint, prints))).all()
    # one that waits can still be asked to
    return {row.fingerprint: bool(row.can) for row in rows if row.can or row.state != TrialState.QUEUED}


def _stored(store: Store, expansion: Expansion, trials: Sequence[Trial]) -> frozenset[Trial]:
    """Those of some new trials that could go on from what other grids have kept, or are training."""
    with store.read() as connection:
        if connection.scalar(select(1).where(trial.c.beginning.is_not(None)).limit(1)) is None:
            return frozenset()
        documents = {place: expansion.points[place].settings for place, _ in trials}
        keys = {place: beginning(settings) for place, settings in documents.items()}
        wishes = [
            Wish(number, of_seed(key, seed), -1 - place)
            for number, (place, seed) in enumerate(trials)
            if (key := keys[place]) is not None
        ]
        chosen = choose(connection, wishes, {-1 - place: settings for place, settings in documents.items()})
    return frozenset(trials[number] for number in chosen)
