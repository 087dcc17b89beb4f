"""Seed-averaged series: one per group, by exact step, never interpolated."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from sqlalchemy import Connection, and_, true
from sqlalchemy.sql import ColumnElement

from service.errors import QuestionTooLarge
from service.questions.statistics import plain, statistics_of
from service.states import TrialState
from service.store.bulk_reads import read_columns, too_many_rows
from service.store.experiments import require, value_order
from service.store.keys import listed
from service.store.known_settings import documents_of
from service.store.layer_names import Layer, require_layer
from service.store.measured_models import measurement
from service.store.members import Group, groups_of
from service.store.remeasured import steps_again
from service.store.results import in_order
from service.store.series import layer_values
from service.store.session import Store
from service.store.trials import spread

MOST_ROWS: Final = 2_500_000
"""Of measurements that enter the curves of some groups at a time: what they take in seconds."""
MOST_POINTS: Final = 1_000_000
"""Of the curves of an answer."""
ROWS_AT_ONCE: Final = 400_000
"""Of measurements that are held at a time, about; a row takes a hundred bytes while it is averaged."""
_SAMPLED: Final = 16
"""Trials from which it is guessed how many rows others have, and at which steps."""


@dataclass(frozen=True)
class CurveQuestion:
    """Which series of which groups; names are checked by the caller."""

    group_by: tuple[str, ...]
    metric: str
    layer: Layer
    aggregates: tuple[str, ...]
    where: str = ""
    max_points: int | None = None
    with_running: bool = False
    """Let trials that still run enter with what they have measured so far."""
    most_points: int | None = None
    """Of all groups together, at least two each; with many of them each has fewer than `max_points`."""


def curves(store: Store, experiment: str, question: CurveQuestion, also: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One item per group, ordered by its keys: them, `trials`, `incomplete`, and arrays step, time, METRIC_AGGREGATE.

    Completed trials enter, with their defined values; count says how many there are at each measured step, 0 where the
    metric is undefined in all of them. With further
    experiments under `also`, each has groups of its own, told apart by a first key `experiment`.
    """
    with store.read() as connection:
        numbers = [require(connection, one) for one in (experiment, *also)]
        found = [curve for number in numbers for curve in _curves(connection, number, question, bool(also))]
        return in_order(found, question.group_by, value_order(connection, numbers), [experiment, *also])


class _Range(NamedTuple):
    """Steps from the first, up to the second and without it."""

    first: float
    end: float

    def of(self, step: Any) -> ColumnElement[bool]:
        """Whether a row is in it."""
        bounds = [step >= int(self.first)] if math.isfinite(self.first) else []
        bounds += [step < int(self.end)] if math.isfinite(self.end) else []
        return and_(true(), *bounds)


class _Rows(NamedTuple):
    """Values of completed trials, NaN where undefined: equally long arrays."""

    group: np.ndarray
    """Place of the trial's group."""
    clock: np.ndarray
    """Which trials' steps are at the same times: see _clocks."""
    step: np.ndarray
    value: np.ndarray


def _curves(connection: Connection, number: int, question: CurveQuestion, by_experiment: bool) -> list[dict[str, Any]]:
    groups = groups_of(connection, [number], question.group_by, question.where, by_experiment=by_experiment)
    settings = {member.settings_id for group in groups for member in group.members}
    require_layer(connection, settings, (question.metric,), question.layer)
    question = _shared(question, len(groups))
    states = (TrialState.COMPLETED, *([TrialState.RUNNING] if question.with_running else []))
    clocks = _clocks(connection, groups, states)
    found: list[dict[str, Any]] = []
    points = 0
    sampled = _sampled(connection, list(clocks))
    for some in _pieces(groups, max(1, int(ROWS_AT_ONCE / max(sampled.rows, 1)))):
        found += _curves_of(connection, some, clocks, _ranges(some, sampled), question)
        points += sum(len(one["step"]) for one in found[-len(some) :])
        if points > MOST_POINTS:
            raise QuestionTooLarge(
                f"the curves have more than {MOST_POINTS:,} points: fewer groups with `group_by`, fewer trials with "
                "`where`, or fewer points with `max_points`"
            )
    return found


def _shared(question: CurveQuestion, groups: int) -> CurveQuestion:
    """With as many points for a group as all of them leave it."""
    if question.most_points is None:
        return question
    each = max(2, question.most_points // max(groups, 1))
    return replace(question, max_points=min(each, question.max_points or each))


class _Sampled(NamedTuple):
    """What a few trials tell of all."""

    rows: float
    """Of a trial, the mean."""
    steps: np.ndarray
    """Of all their rows."""


def _sampled(connection: Connection, trials: Sequence[int]) -> _Sampled:
    some = trials[:: max(1, len(trials) // _SAMPLED)]
    steps = read_columns(connection, measurement, listed(connection, some), {"step": measurement.c.step})["step"]
    return _Sampled(len(steps) / max(len(some), 1), steps)


def _pieces(groups: Sequence[Group], most_trials: int) -> Iterator[list[Group]]:
    """The groups in order, so many at a time that their trials are few; a large group is a piece of its own."""
    piece: list[Group] = []
    trials = 0
    for group in groups:
        if piece and trials + len(group.members) > most_trials:
            yield piece
            piece, trials = [], 0
        piece.append(group)
        trials += len(group.members)
    if piece:
        yield piece


def _ranges(groups: Sequence[Group], sampled: _Sampled) -> list[_Range]:
    """Ranges of steps that have about as many rows as may be held; one of all steps but for a large group."""
    rows = sampled.rows * sum(len(group.members) for group in groups)
    count = math.ceil(rows / ROWS_AT_ONCE)
    if count <= 1:
        return [_Range(-math.inf, math.inf)]
    parts = np.linspace(0, 1, count + 1)[1:-1]
    cuts = np.unique(np.quantile(sampled.steps, parts, method="higher")).tolist()
    return [_Range(*pair) for pair in itertools.pairwise([-math.inf, *cuts, math.inf])]


def _curves_of(
    connection: Connection,
    groups: Sequence[Group],
    clocks: Mapping[int, int],
    ranges: Sequence[_Range],
    question: CurveQuestion,
) -> list[dict[str, Any]]:
    rows, parts = 0, []
    for within in ranges:
        count, part = _within(connection, groups, clocks, within, question)
        rows += count
        if rows > MOST_ROWS:
            raise too_many_rows(MOST_ROWS)
        parts.append(part)
    found = []
    for group, *own in zip(groups, *parts, strict=True):
        columns = {name: np.concatenate([one[name] for one in own]) for name in own[0]}
        shown = spread(len(columns["step"]), question.max_points)
        found.append(_curve(group, {name: column[shown] for name, column in columns.items()}))
    return found


def _within(
    connection: Connection, groups: Sequence[Group], clocks: Mapping[int, int], within: _Range, question: CurveQuestion
) -> tuple[int, list[dict[str, np.ndarray]]]:
    """How many rows there are in a range of steps, and step, time and statistics of each group in it."""
    rows = _rows(connection, groups, clocks, within, question)
    steps, at = _numbered(rows.step)
    width = max(len(steps), 1)
    cells, at_cell, count = _compact(rows.group.astype(np.int64) * width + at, len(groups) * width)
    measured = statistics_of(at_cell, _times(connection, rows, within, steps, at), count, ("mean", "count"))
    columns = {"step": steps[cells % width] if len(steps) else cells, "time": measured["mean"]}
    values, is_defined = rows.value, ~np.isnan(rows.value)
    total = len(values)
    del rows, at
    if not is_defined.all():
        at_cell, values = at_cell[is_defined], values[is_defined]
    statistics = statistics_of(at_cell, values, count, question.aggregates)
    columns |= {f"{question.metric}_{name}": column for name, column in statistics.items()}
    # a step at which no value is defined stays, with a count of 0: a line may not be drawn across it
    filled = np.flatnonzero(measured["count"])
    bounds = np.searchsorted(cells[filled] // width, np.arange(len(groups) + 1))
    places = (filled[low:high] for low, high in itertools.pairwise(bounds))
    return total, [{name: column[own] for name, column in columns.items()} for own in places]


def _curve(group: Group, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    series = {name: plain(column) for name, column in columns.items()}
    trials = len(group.members)
    return {**group.key, "trials": trials, "incomplete": trials - len(group.completed), **series}


def _rows(
    connection: Connection, groups: Sequence[Group], clocks: Mapping[int, int], within: _Range, question: CurveQuestion
) -> _Rows:
    """The metric's values in a range of steps, each with its group and clock."""
    places = {member.id: at for at, group in enumerate(groups) for member in group.members if member.id in clocks}
    members = listed(connection, list(places))
    found = layer_values(connection, members, question.metric, question.layer, MOST_ROWS, within.of)
    trial = found["trial_id"]
    starts = np.flatnonzero(np.diff(trial, prepend=-1))
    lengths = np.diff(starts, append=len(trial))
    keys = trial[starts].tolist()
    group = np.repeat(np.array([places[key] for key in keys], np.int32), lengths)
    clock = np.repeat(np.array([clocks[key] for key in keys], np.int64), lengths)
    del trial, found["trial_id"]  # what is held at a time is what the question costs
    return _Rows(group, clock, found.pop("step").astype(np.int64), found["value"])


def _clocks(connection: Connection, groups: Sequence[Group], states: Sequence[TrialState]) -> dict[int, int]:
    """Trial in one of the states -> one of those whose steps are at the same times, so that few times need be read.

    When a step is follows from the settings, except where a trial stops early along gradient flow; and steps whose
    kept weights were measured again have rows in those trials alone.
    """
    members = [member for group in groups for member in group.members if member.state in states]
    documents = documents_of(connection, {member.settings_id for member in members})
    texts = {key: _clock_text(document) for key, document in documents.items()}
    again = steps_again(connection, listed(connection, [member.id for member in members]))
    first: dict[str, int] = {}
    # what still runs has not reached every step: its own times are read
    return {
        member.id: member.id
        if member.state == TrialState.RUNNING
        else first.setdefault(f"{texts[member.settings_id] or member.id} {again.get(member.id, '')}", member.id)
        for member in members
    }


def _clock_text(document: Mapping[str, Any]) -> str:
    """What decides when the steps of a trial are; empty where it is not the settings alone."""
    training = {name: value for name, value in document["training"].items() if name != "weight_decay"}
    measure = {name: document["measure"].get(name) for name in ("points", "spacing", "every", "steps", "weights")}
    return "" if "stop" in training else json.dumps([training, measure], sort_keys=True)


def _times(connection: Connection, rows: _Rows, within: _Range, steps: np.ndarray, at: np.ndarray) -> np.ndarray:
    """When each row was."""
    table = measurement.c
    those = listed(connection, np.unique(rows.clock).tolist())
    columns = {"step": table.step, "time": table.time}
    found = read_columns(connection, measurement, those, columns, within.of(table.step), 2 * MOST_ROWS)
    place = np.minimum(np.searchsorted(steps, found["step"]), max(len(steps) - 1, 0))
    is_asked = steps[place] == found["step"] if len(steps) else np.zeros(len(place), bool)
    keys = (found["trial_id"] * len(steps) + place)[is_asked]
    order = np.argsort(keys)
    wanted = rows.clock * len(steps) + at
    known = np.append(found["time"][is_asked][order], np.nan)
    return known[np.searchsorted(keys[order], wanted)]


def _numbered(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different steps, sorted, and the place of each among them."""
    if len(steps) == 0 or steps.max() > 10 * len(steps) + 1_000_000:
        return np.unique(steps, return_inverse=True)
    is_there = np.zeros(steps.max() + 1, bool)
    is_there[steps] = True
    return np.flatnonzero(is_there), (np.cumsum(is_there) - 1)[steps]


def _compact(cells: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The cells there may be, the place of each row's among them, and their number: renumbered where most are empty."""
    if count <= 4 * len(cells) + 1_000_000:
        return np.arange(count), cells, count
    found, at = np.unique(cells, return_inverse=True)
    return found, at, len(found)
