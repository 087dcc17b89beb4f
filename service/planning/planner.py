"""From what has finished to the points of the next round: the searches of a grid and its seeds. Pure.

A plan has no memory of its own: what has been tried is read off the trials, so that any dispatcher can plan the next
round, and one that was killed in the middle leaves nothing behind.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

from service.planning.cells import Curve, follow_curve
from service.planning.intervals import Interval, mean_interval, share_interval
from service.planning.plan import Certainty, Group, Plan, Search
from service.questions import filters
from service.questions.brackets import Axis, Line, follow
from service.questions.claim_forms import Claim, parse_condition
from service.questions.judging import Row, judge
from service.states import TrialState

FEW_TRIALS: Final = 128
"""A round of so many takes hardly longer than one of a few: their networks share stacks."""
_UNFINISHED: Final = (TrialState.QUEUED, TrialState.RUNNING)
_TOLD: Final = (TrialState.COMPLETED, TrialState.DIVERGED)
MOST_HALVINGS: Final = 4
"""Where a search leaves them open."""


class _Spot:
    """One place of the axes that searches do not follow; those along the same axes share what is known of it."""

    def __init__(self, group: Group, members: Sequence[Row], paths: Sequence[str], varied: Sequence[str]) -> None:
        self.group, self._members = group, members
        self._others = [path for path in varied if path not in paths]
        at = _placed(members, paths)
        self.trying = tuple(value for value, rows in at.items() if any(row.state in _UNFINISHED for row in rows))
        """Values, or pairs of values, of the axes that are followed where some trials wait or run."""
        self.ended = {
            value: [row for row in rows if row.state in _TOLD] for value, rows in at.items() if value not in self.trying
        }
        """The others -> their trials that can tell."""

    @cached_property
    def rests(self) -> list[dict[str, Any]]:
        """All values of what a search pools here."""
        return [rest for rest, _ in _grouped(self._members, self._others)]


class _Looked(NamedTuple):
    """A search at one place of the axes that it does not follow."""

    search: Search
    spot: _Spot
    seen: Mapping[Any, bool | None]
    """Value, or pair of values, of the axes that it follows -> verdict, where all trials have ended."""

    def found(self, halvings: int = 1) -> Line | Curve:
        """The boundary there, and what to try next."""
        axes, bases = self.search.axes, self.search.bases
        if len(axes) == 1:
            return follow(self.seen, axes[0], self.search.halvings or halvings)
        return follow_curve(self.seen, bases[0], bases[1], (axes[0], axes[1]))


@dataclass(frozen=True, slots=True)
class Boundary:
    """What is known of one search at one place of the axes that it does not follow."""

    place: str
    statement: str
    paths: tuple[str, ...]
    group: Group
    found: Line | Curve
    seen: Mapping[Any, bool | None]
    """Value, or pair of values, -> verdict."""
    next: tuple[Any, ...]
    """What is tried now; when all have ended, what comes next."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point's interval, and how many seeds it rests on."""

    group: Group
    interval: Interval
    used: frozenset[int]
    is_certain: bool

    @property
    def seeds(self) -> int:
        """How many seeds it has, ended in numbers or not."""
        return len(self.used)


@dataclass(frozen=True, slots=True)
class Addition:
    """Seeds of a point, new or not."""

    point: Group
    seeds: tuple[int, ...]


class Past(NamedTuple):
    """The rounds that were added to an experiment."""

    number: int
    added: Mapping[str, int]
    """Place of a search, or `seeds`, -> trials."""


@dataclass(frozen=True, slots=True)
class Round:
    """What is trained next, and on whose behalf."""

    additions: tuple[Addition, ...]
    added: Mapping[str, int] = field(default_factory=dict)
    """Place of a search, or `seeds`, -> trials."""
    stopped: Mapping[str, str] = field(default_factory=dict)
    """Place -> why it adds nothing although it is not done."""

    @property
    def trials(self) -> int:
        """How many it adds."""
        return sum(len(part.seeds) for part in self.additions)


def boundaries(plan: Plan, rows: Mapping[str, Sequence[Row]]) -> list[Boundary]:
    """What is known of every search in every group, in order of appearance.

    Args:
        plan: what is looked for.
        rows: id of each of `plan.asks` -> every trial of the experiment.
    """
    found = []
    for one in _looked(plan, rows):
        search, spot, known = one.search, one.spot, one.found()
        following = tuple(sorted(spot.trying or known.add))
        found.append(Boundary(search.place, search.statement, search.paths, spot.group, known, one.seen, following))
    return found


def estimates(plan: Plan, rows: Mapping[str, Sequence[Row]]) -> list[Estimate]:
    """The interval of every point, in order of appearance; none where seeds are not added."""
    if plan.certainty is None:
        return []
    found = []
    for group, members in _grouped(rows[plan.certainty.asks.id], plan.varied):
        values = _numbers(plan.certainty.asks, members)
        interval = _interval(plan.certainty, values)
        certain = len(members) >= plan.certainty.at_least and interval.half_width <= plan.certainty.half_width
        found.append(Estimate(group, interval, frozenset(row.lookup("seed") for row in members), certain))
    return found


def next_round(
    plan: Plan, rows: Mapping[str, Sequence[Row]], rounds: int, added: Mapping[str, int], most: int | None = None
) -> Round:
    """The points and seeds to add, none when everything is found or may not be looked for any further.

    Args:
        plan: what is looked for.
        rows: id of each of `plan.asks` -> every trial of the experiment, all ended.
        rounds: how many were added before.
        added: place -> trials that were added for it before.
        most: trials that a round may have; points beyond are left to later ones, except for the first.
    """
    looked = list(_looked(plan, rows))
    known = estimates(plan, rows)
    seeds = list(_more_seeds(plan.certainty, known)) if plan.certainty else []
    is_fixed = all(search.halvings is not None for search in plan.searches)
    for halvings in range(1 if is_fixed else MOST_HALVINGS, 0, -1):
        found = _round(plan, looked, seeds, halvings, Past(rounds, added), most)
        if found.trials <= FEW_TRIALS and not found.stopped:
            break
    used_up = sum(_is_used_up(plan.certainty, one) for one in known) if plan.certainty else 0
    if plan.certainty and used_up:
        who = "1 point has used all of its" if used_up == 1 else f"{used_up} points have used all of their"
        reason = f"{who} {plan.certainty.at_most} seeds"
        return replace(found, stopped={**found.stopped, "seeds": reason})
    return found


def _is_used_up(certainty: Certainty, one: Estimate) -> bool:
    return not one.is_certain and one.seeds >= certainty.at_most


def _round(
    plan: Plan,
    looked: Sequence[_Looked],
    seeds: Sequence[tuple[Group, list[int]]],
    halvings: int,
    past: Past,
    most: int | None,
) -> Round:
    """The next round with so many halvings where a search leaves them open; `seeds` are further ones of points."""
    wanted = _Wanted(most)
    stopped: dict[str, str] = {}
    for one in looked:
        search, place = one.search, one.search.place
        further = _further(one, halvings)
        if not further:
            continue
        before = past.added.get(place, 0) + wanted.counts.get(place, 0)
        if past.number >= search.rounds:
            stopped[place] = f"all of its {search.rounds} rounds have been used"
        elif before + len(further) * len(plan.seeds) > search.at_most:
            stopped[place] = f"more than at_most {search.at_most} trials would have been added"
        else:
            for point in further:
                wanted.add(place, point, plan.seeds)
    for point, some in seeds:
        wanted.add("seeds", point, some)
    additions = tuple(Addition(point, tuple(sorted(own))) for point, own in wanted.points.values())
    return Round(additions, wanted.counts, stopped)


class _Wanted:
    """Points and seeds of a round that may have so many trials."""

    def __init__(self, most: int | None) -> None:
        self.most, self.trials = most, 0
        self.points: dict[str, tuple[Group, set[int]]] = {}
        self.counts: dict[str, int] = {}

    def add(self, place: str, point: Group, seeds: Sequence[int]) -> None:
        """Want seeds of a point on behalf of a search, unless there is no room beside others."""
        key = _key(point)
        new = set(seeds) - (self.points[key][1] if key in self.points else set())
        if self.points and self.most is not None and self.trials + len(new) > self.most:
            return
        self.trials += len(new)
        self.points.setdefault(key, (point, set()))[1].update(new)
        self.counts[place] = self.counts.get(place, 0) + len(seeds)


@dataclass(frozen=True, slots=True)
class Bound:
    """How far a plan may grow."""

    rounds: int | None
    """Rounds that may follow the first; None where only seeds are added."""
    at_most: int
    """Trials in the end."""


def bound(plan: Plan, first: int, most: int) -> Bound:
    """What a plan may come to, at the worst.

    Args:
        plan: what is looked for.
        first: trials of the first round.
        most: trials that an experiment may have.
    """
    trials = first + sum(search.at_most for search in plan.searches)
    if plan.certainty is not None:
        trials = trials // len(plan.seeds) * plan.certainty.at_most
    return Bound(max((search.rounds for search in plan.searches), default=None), min(trials, most))


def round_grids(grid: Mapping[str, Any], additions: Sequence[Addition]) -> list[dict[str, Any]]:
    """The grids that a round stands for, one for points that assign the same paths and take the same seeds."""
    alike: dict[tuple[tuple[int, ...], tuple[str, ...]], list[Group]] = {}
    for part in additions:
        alike.setdefault((part.seeds, tuple(part.point)), []).append(part.point)
    return [
        {
            "trial": grid.get("trial") or {},
            # columns are read in half the time that points take which are included one by one
            "zip": [{path: [point[path] for point in points] for path in paths}] if paths else [],
            "seeds": list(seeds),
        }
        for (seeds, paths), points in alike.items()
    ]


def _looked(plan: Plan, rows: Mapping[str, Sequence[Row]]) -> Iterator[_Looked]:
    """Every search with each of its places, in order of appearance; many searches share theirs."""
    known: dict[Any, list[_Spot]] = {}
    for search in plan.searches:
        same = (search.asks.id, search.per, search.paths)
        if same not in known:
            groups = _grouped(rows[search.asks.id], search.per)
            known[same] = [_Spot(group, members, search.paths, plan.varied) for group, members in groups]
        for spot in known[same]:
            yield _Looked(search, spot, {value: _verdict(search, some) for value, some in spot.ended.items()})


def _placed(members: Sequence[Row], paths: Sequence[str]) -> dict[Any, list[Row]]:
    """Trials with numbers on the axes that are followed, by these: a value, or a pair of values."""
    places: dict[Any, list[Row]] = {}
    for row in members:
        values = tuple(row.lookup(path) for path in paths)
        if all(isinstance(value, int | float) for value in values):
            numbers = tuple(map(float, values))
            places.setdefault(numbers if len(numbers) > 1 else numbers[0], []).append(row)
    return places


def _verdict(search: Search, told: Sequence[Row]) -> bool | None:
    """Whether the statement holds at one place; None where no trial can tell."""
    if search.where is None:
        return judge(search.asks, told).holds
    if not told:
        return None
    matches = filters.predicate(search.where)
    return sum(matches(row.lookup) for row in told) >= search.share * len(told)


def _further(one: _Looked, halvings: int) -> list[Group]:
    """Points that a search wants to see next in one group: each new place, at all values of what it pools."""
    found, search = one.found(halvings), one.search
    places = [(value,) for value in found.add] if isinstance(found, Line) else list(found.add)
    return [
        rest | {path: _written(value, axis) for path, value, axis in zip(search.paths, place, search.axes, strict=True)}
        for place in places
        for rest in one.spot.rests
    ]


def _written(value: float, axis: Axis) -> float | int:
    return int(value) if axis.is_whole else value


def _more_seeds(certainty: Certainty, known: Iterable[Estimate]) -> Iterator[tuple[Group, list[int]]]:
    """Further seeds of every point whose interval is too wide: as many as its width asks for, at most as many again."""
    for one in known:
        if one.is_certain or _is_used_up(certainty, one):
            continue
        ratio = one.interval.half_width / certainty.half_width
        wanted = min(2 * one.seeds, math.ceil(one.seeds * ratio**2) if ratio < 2 else 2 * one.seeds)
        wanted = min(max(wanted, one.seeds + 1, certainty.at_least), certainty.at_most)
        free = (seed for seed in range(one.seeds + wanted) if seed not in one.used)
        yield one.group, [next(free) for _ in range(wanted - one.seeds)]


def _interval(certainty: Certainty, values: Sequence[float]) -> Interval:
    if not certainty.is_share:
        return mean_interval(values)
    condition = parse_condition(certainty.asks.threshold)
    return share_interval(sum(map(condition.holds, values)), len(values))


def _numbers(asks: Claim, rows: Iterable[Row]) -> list[float]:
    """The metric of each trial that has one."""
    layer = 0 if asks.layers == "network" else asks.layers
    values = (row.values.get(layer) for row in rows if row.state == TrialState.COMPLETED)
    return [float(value) for value in values if value is not None and not math.isnan(value)]


def _grouped(rows: Iterable[Row], paths: Sequence[str]) -> list[tuple[dict[str, Any], list[Row]]]:
    """Trials that agree in the paths, in order of appearance; a setting that a trial does not read is left out."""
    groups: dict[str, tuple[dict[str, Any], list[Row]]] = {}
    for row in rows:
        values = [row.lookup(path) for path in paths]
        # text tells 1 from true
        group = groups.get(key := repr(values))
        if group is None:
            known = {path: value for path, value in zip(paths, values, strict=True) if value is not None}
            group = groups[key] = known, []
        group[1].append(row)
    return list(groups.values())


def _key(group: Group) -> str:
    return repr(sorted(group.items()))
