"""Filters and orders of trials, said in SQL.

A part of a filter that reads settings alone is decided here, once per settings, and becomes a list of keys; the rest
becomes conditions on the trial and its final values. Both decide as `filters.matches` does: a comparison is true or
false, and unknown only where that comes to the same.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Double,
    and_,
    case,
    cast,
    false,
    func,
    literal_column,
    not_,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.sql import ColumnElement

from nfa_kernels import names
from service.grid.value_order import ValueOrder
from service.questions import filters
from service.questions.filters import And, Compare, Filter, In, IsNull, Not, Or, compares
from service.states import TrialState
from service.store.held_back import is_wanted
from service.store.keys import among, numbered
from service.store.known_settings import SettingsColumns
from service.store.layer_names import numbers_of
from service.store.measured_models import final
from service.store.metric_sources import final_column, is_layered, source_of
from service.store.models import experiment_trial, trial

Condition = ColumnElement[bool]
_LARGEST = 10**300
_COMPARISONS = {"==": "__eq__", "!=": "__ne__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}


def state_column() -> ColumnElement[str]:
    """A trial's state as its experiment sees it: cancelled where it is not wanted any more."""
    return case((is_wanted(experiment_trial), trial.c.state), else_=TrialState.CANCELLED.value)


def in_state(states: Collection[str]) -> Condition:
    """Whether a trial is in one of these states, as its experiment sees it; said so that few are found by an index."""
    rest = [state for state in states if state != TrialState.CANCELLED]
    if len(rest) < len(states) or not rest:
        return state_column().in_(states)
    # literal, as indexes have them, and as PostgreSQL knows how frequent each is
    written = [literal_column(f"'{TrialState(state).value}'") for state in rest]
    return and_(or_(*(trial.c.state == one for one in written)), is_wanted(experiment_trial))


def condition_of(connection: Connection, tree: Filter, known: SettingsColumns, *, is_whole: bool = True) -> Condition:
    """A filter on rows of experiment_trial, trial and, outer-joined, final.

    As a whole or one of several facts it may be unknown where it is not true, which PostgreSQL can tell beforehand
    how often it is; as a part of others (`is_whole` false) it is true or false.
    """
    read = filters.paths(tree)
    if read and all(_is_setting(path) for path in read):
        columns = {path: known.column(connection, path) for path in read}
        passing = [
            key
            for place, key in enumerate(known.keys)
            if filters.matches(tree, lambda path, at=place: columns[path][at])
        ]
        return true() if len(passing) == len(known.keys) else among(connection, trial.c.settings_id, passing)
    match tree:
        case And(facts):
            each = (condition_of(connection, fact, known, is_whole=is_whole) for fact in _together(facts, And))
            found = and_(true(), *each)
        case Or(terms):
            each = (condition_of(connection, term, known, is_whole=is_whole) for term in _together(terms, Or))
            found = or_(false(), *each)
        case Not(fact):
            found = not_(condition_of(connection, fact, known, is_whole=False))
        case Compare(path, op, value):
            found = _compared(path, op, value, value_of(connection, path, known), is_whole=is_whole)
        case In(path, values):
            column = value_of(connection, path, known)
            found = or_(false(), *(_compared(path, "==", value, column, is_whole=is_whole) for value in values))
        case IsNull(path):
            found = value_of(connection, path, known).is_(None) if path.startswith("final.") else false()
    return found


def _together(facts: Sequence[Filter], kind: type[And] | type[Or]) -> list[Filter]:
    """The facts with those about settings alone joined into one, so that they become one list of keys."""
    own = [fact for fact in facts if all(_is_setting(path) for path in filters.paths(fact))]
    rest = [fact for fact in facts if fact not in own]
    return [*([kind(tuple(own))] if own else []), *rest] if rest else list(facts)


def _is_setting(path: str) -> bool:
    return path not in ("seed", "state") and not path.startswith("final.")


def _compared(path: str, op: str, value: filters.Value, column: ColumnElement[Any], *, is_whole: bool) -> Condition:
    """path op value, for what is not a setting and stands in `column`; unknown for null as a whole, else false."""
    words = [state.value for state in TrialState] if path == "state" else _words(path)
    if words:
        chosen = [place for place, word in enumerate(words) if compares(word, op, value)]
        if path == "state":
            return in_state([words[place] for place in chosen])
        return column.in_(chosen) if is_whole else func.coalesce(column.in_(chosen), false())
    if isinstance(value, bool | str):
        return false()
    if abs(value) >= _LARGEST:
        # beyond every number that is stored, and what a database takes as one
        return column.is_not(None) if filters.OPERATORS[op](0, value) else false()
    told = getattr(column, _COMPARISONS[op])(_storable(value))
    return told if is_whole else func.coalesce(told, false())


def _storable(value: float) -> float:
    """A number that both databases take as a parameter."""
    return value if abs(value) < 2**62 else float(value)


def _words(path: str) -> Sequence[str]:
    metric = (filters.split_final(path) or ("", None))[0]
    return names.words_of(metric)


def value_of(connection: Connection, path: str, known: SettingsColumns) -> ColumnElement[Any]:
    """The number behind seed, state or final.METRIC[layer]; a word by its place among the metric's words."""
    if path == "seed":
        return trial.c.seed
    if path == "state":
        return state_column()
    found = filters.split_final(path)
    assert found is not None
    metric, layer = found
    if not isinstance(layer, str):
        return _in_layer(metric, layer)
    numbers = numbers_of(connection, known.keys, layer)
    if len(numbers) == 1 and sum(map(len, numbers.values())) == len(known.keys):
        return _in_layer(metric, next(iter(numbers)))
    cases = [
        (among(connection, trial.c.settings_id, keys), _in_layer(metric, number)) for number, keys in numbers.items()
    ]
    return case(*cases, else_=null()) if cases else cast(null(), Double)


def _in_layer(metric: str, layer: int | None) -> ColumnElement[Any]:
    """A metric's final value in a layer by its number."""
    column = final_column(metric)
    if column is not None and (layer is None or not is_layered(metric)):
        return column
    source = source_of(metric, layer)
    if layer is None and is_layered(metric):
        source = source_of(metric, 0)
        rows = source.table.c
        at_first = and_(rows.layer == final.c.layer, rows.name == metric)
        return _at_last_step(source.table, source.value, at_first)
    stored = _at_last_step(source.table, source.value, source.condition)
    return stored if column is None else case((final.c.layer == layer, column), else_=stored)


def _at_last_step(table: Any, value: ColumnElement[Any], condition: Condition) -> ColumnElement[Any]:
    rows = table.c
    return (
        select(value)
        .where(rows.trial_id == trial.c.id, rows.step == trial.c.last_step, final.c.trial_id.is_not(None), condition)
        .correlate(trial, final)
        .scalar_subquery()
    )


def order_by(
    connection: Connection, path: str, known: SettingsColumns, order: ValueOrder, *, is_descending: bool
) -> tuple[ColumnElement[Any], Any, bool]:
    """What to sort by: a column that is null where undefined, a subquery to join on settings if any, the direction.

    Words are sorted as the grid lists them, numbers before words in either direction.
    """
    if path == "state":
        ranks = {word: rank for rank, word in enumerate(sorted(state.value for state in TrialState))}
        return case(ranks, value=state_column()), None, is_descending
    if words := _words(path):
        ranks = {places: rank for rank, places in enumerate(sorted(range(len(words)), key=lambda at: words[at]))}
        return case(ranks, value=value_of(connection, path, known)), None, is_descending
    if not _is_setting(path):
        return value_of(connection, path, known), None, is_descending
    values = known.column(connection, path)
    ranks = {repr(value): order.rank(path, value) for value in values if not _is_undefined(value)}
    numbers, words = (sorted({rank for rank in ranks.values() if rank[0] == kind}) for kind in (0, 1))
    ordered = [*(reversed(numbers) if is_descending else numbers), *(reversed(words) if is_descending else words)]
    places = {rank: place for place, rank in enumerate(ordered)}
    pairs = [
        (key, places[ranks[repr(value)]])
        for key, value in zip(known.keys, values, strict=True)
        if not _is_undefined(value)
    ]
    ranked = numbered(connection, pairs)
    return ranked.c.number, ranked, False


def order_by_axes(
    connection: Connection, axes: Sequence[str], known: SettingsColumns, order: ValueOrder
) -> tuple[ColumnElement[Any], Any]:
    """The column and the subquery that sort trials by the values of axes, as groups of a table are sorted."""
    columns = [[order.rank(path, value) for value in known.column(connection, path)] for path in axes]
    ranks = list(zip(*columns, strict=True)) if columns else [()] * len(known.keys)
    places = {rank: place for place, rank in enumerate(sorted(set(ranks)))}
    ranked = numbered(connection, [(key, places[rank]) for key, rank in zip(known.keys, ranks, strict=True)])
    return ranked.c.number, ranked


def _is_undefined(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
