"""Trials that differ only in length: the longer one waits for the shorter one, and goes on from where that ended.

While it waits nobody may lease it (`queued_for` is null, see `wanting.settle`). Once the shorter trial has ended, it is
given that one's state as its checkpoint and that one's rows as its own, and is leased like any trial that was
interrupted there: leases, fences and reports know nothing of all this. Where there is nothing to go on from it begins
at the beginning.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, literal, or_, select, update
from sqlalchemy.sql import ColumnElement, FromClause

from service.grid.beginnings import MOST_LOOKED_AT, beginning, copied_steps, of_seed
from service.grid.lengths import First
from service.grid.points import Point
from service.states import ENDED, TrialState
from service.store.held_back import still_wants
from service.store.ids import trial_id
from service.store.keys import among, among_words
from service.store.measured_models import kept_state
from service.store.measurements import delete_measurements
from service.store.models import experiment, experiment_trial, settings, trial
from service.store.taken_over import take_over
from service.store.wanting import is_alone, settle_trials

_CHUNK = 5_000
_AT_ONCE = 4_096
"""Trials that are let go on in one transaction."""


class Wish(NamedTuple):
    """A trial that has yet to begin, and may share its beginning."""

    id: int
    beginning: str
    settings_id: int


_ANY_BEGINNING: Final = select(1).where(trial.c.beginning.is_not(None)).limit(1)


def beginnings_of(connection: Connection, points: Sequence[Point]) -> dict[str, str]:
    """Keys of the points' beginnings by digest; none where no trial, of these or in the store, keeps its state."""
    if not any(point.keeps for point in points) and connection.scalar(_ANY_BEGINNING) is None:
        return {}
    found = ((point.digest, beginning(point.settings)) for point in points)
    return {digest: key for digest, key in found if key is not None}


def share_of(point: Point, seed: int, beginnings: Mapping[str, str]) -> dict[str, Any]:
    """Columns of a new trial that say with whom it begins alike; what no trial can go on from is not kept."""
    key = beginnings.get(point.digest)
    return {"beginning": None if key is None else of_seed(key, seed), "keeps": point.keeps and key is not None}


def share_also(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Let trials that were there before, and have not begun, share their beginnings as the rows say."""
    asked = [{"print": row["fingerprint"], "key": row["beginning"]} for row in rows if row["keeps"]]
    if asked:
        open_ones = and_(
            trial.c.fingerprint == bindparam("print"),
            or_(trial.c.state == TrialState.QUEUED, trial.c.state == TrialState.CANCELLED),
            trial.c.keeps == literal(False),
        )
        connection.execute(update(trial).where(open_ones).values(keeps=True, beginning=bindparam("key")), asked)


def follow(connection: Connection, number: int) -> int:
    """Let those of an experiment's trials that wait from their beginning follow shorter ones; answers how many do."""
    links = select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id == number)
    fresh = (trial.c.state == TrialState.QUEUED, trial.c.checkpoint_step < 0, trial.c.beginning.is_not(None))
    query = select(trial.c.id, trial.c.beginning, trial.c.settings_id).where(trial.c.id.in_(links), *fresh)
    waiting = [Wish(*row) for row in connection.execute(query.order_by(trial.c.id))]
    return sum(_follow(connection, waiting[start : start + _CHUNK]) for start in range(0, len(waiting), _CHUNK))


def _follow(connection: Connection, waiting: Sequence[Wish]) -> int:
    """Note for each of these trials which one it follows, or that it follows none; answers how many do."""
    chosen = choose(connection, waiting)
    rows = [{"key": one.id, "shorter": chosen.get(one.id)} for one in waiting]
    if rows:
        # a dispatcher may have leased it in this moment
        here = and_(trial.c.id == bindparam("key"), trial.c.state == TrialState.QUEUED)
        connection.execute(update(trial).where(here).values(follows=bindparam("shorter")), rows)
    return len(chosen)


def choose(
    connection: Connection, waiting: Sequence[Wish], given: Mapping[int, Mapping[str, Any]] | None = None
) -> dict[int, int]:
    """Trial -> the longest shorter one that has kept its state, or will, and was measured where it would have been.

    One that has yet to run is waited for only where one experiment wants both: the turn of others may come late.

    Args:
        connection: to the store.
        waiting: the trials; of many a few thousand at a time.
        given: settings by those of their numbers that the store does not know.
    """
    has_state = select(1).where(kept_state.c.trial_id == trial.c.id).exists()
    will_have = and_(trial.c.state.not_in(ENDED), trial.c.keeps == literal(True), _may_run(trial))
    is_one = and_(trial.c.kept_every == 1, or_(and_(trial.c.state == TrialState.COMPLETED, has_state), will_have))
    keys = {one.beginning for one in waiting}
    query = select(trial.c.id, trial.c.beginning, trial.c.settings_id, trial.c.state).where(
        among_words(connection, trial.c.beginning, keys), trial.c.beginning.is_not(None), is_one
    )
    alike, queued = defaultdict[str, list[Wish]](list), set[int]()
    for row in connection.execute(query):
        alike[row.beginning].append(Wish(*row[:3]))
        if row.state == TrialState.QUEUED:
            queued.add(row.id)
    if not alike:
        return {}
    shared = [one for one in waiting if one.beginning in alike]
    others = [other for some in alike.values() for other in some]
    wanted = {one.settings_id for one in (*shared, *others)} - (given or {}).keys()
    documents = _documents(connection, wanted) | dict(given or {})
    first = cache(lambda key: First.of(documents[key]))
    holders = _holders(connection, queued.union(one.id for one in shared)) if queued else {}
    last = {key: document["training"]["steps"] for key, document in documents.items()}
    # the shortest first, and of equal ones the latest
    ordered = {key: sorted(some, key=lambda one: (last[one.settings_id], -one.id)) for key, some in alike.items()}
    found = {}
    for one in shared:
        own = holders.get(one.id, frozenset())
        order = ordered[one.beginning]
        end = bisect_left(order, last[one.settings_id], key=lambda other: last[other.settings_id])
        shorter = map(order.__getitem__, range(end - 1, -1, -1))
        near = (other for other in shorter if other.id not in queued or own & holders[other.id])
        for other in islice(near, MOST_LOOKED_AT):
            if first(one.settings_id).hindrance(first(other.settings_id)) is None:
                found[one.id] = other.id
                break
    return found


def _holders(connection: Connection, keys: Collection[int]) -> dict[int, frozenset[int]]:
    """Which unpaused experiments want each of these trials."""
    link = experiment_trial.c
    query = (
        select(link.trial_id, link.experiment_id)
        .join(experiment, experiment.c.id == link.experiment_id)
        .where(among(connection, link.trial_id, keys), link.wanted == literal(True), still_wants)
    )
    found = defaultdict[int, set[int]](set)
    for row in connection.execute(query):
        found[row.trial_id].add(row.experiment_id)
    return {key: frozenset(found[key]) for key in keys}


def _documents(connection: Connection, keys: Collection[int]) -> dict[int, Mapping[str, Any]]:
    """Settings by their keys; read anew, since this transaction, which may be undone, may have written them."""
    query = select(settings.c.id, settings.c.document).where(among(connection, settings.c.id, keys))
    return {row.id: row.document for row in connection.execute(query)}


def _may_run(table: FromClause) -> ColumnElement[bool]:
    """Whether an unpaused experiment wants a trial."""
    link = experiment_trial.alias()
    wanted = and_(link.c.trial_id == table.c.id, link.c.wanted == literal(True), still_wants)
    return select(1).select_from(link.join(experiment, experiment.c.id == link.c.experiment_id)).where(wanted).exists()


def go_on(connection: Connection) -> int:
    """Queue trials whose shorter one has ended, or is not going to be trained; answers how many.

    For a transaction that has locked nothing yet. Where somebody else changes who wants what, it is left to the next
    one.
    """
    if not _ready(connection, most=1) or not is_alone(connection):
        return 0
    keys = _ready(connection, most=_AT_ONCE)
    locked = (
        select(trial.c.id)
        .where(among(connection, trial.c.id, keys))
        .order_by(trial.c.id)
        .with_for_update(key_share=True)
    )
    keys = list(connection.scalars(locked))
    begun = _continue(connection, keys)
    left = [key for key in keys if key not in begun]
    query = select(trial.c.id, trial.c.beginning, trial.c.settings_id).where(among(connection, trial.c.id, left))
    _follow(connection, [Wish(*row) for row in connection.execute(query)])
    settle_trials(connection, keys)
    return len(keys)


def _ready(connection: Connection, most: int) -> list[int]:
    """Trials that wait no longer for the one they follow."""
    return sorted(connection.scalars(_READY, {"most": most}))


def _follows_what_is_over() -> Select[Any]:
    shorter = trial.alias()
    is_over = or_(shorter.c.id.is_(None), shorter.c.state.in_(ENDED), and_(_may_run(trial), ~_may_run(shorter)))
    return (
        select(trial.c.id)
        .select_from(trial.outerjoin(shorter, shorter.c.id == trial.c.follows))
        .where(trial.c.follows.is_not(None), trial.c.state == TrialState.QUEUED, is_over)
        # as the index has them
        .order_by(trial.c.follows)
        .limit(bindparam("most"))
    )


_READY: Final = _follows_what_is_over()
"""Made once: every lease asks it."""


def _continue(connection: Connection, keys: Collection[int]) -> frozenset[int]:
    """Give trials, which are locked, the state and the rows of those they follow; answers which could be given them."""
    shorter = trial.alias()
    query = (
        select(
            trial.c.id,
            trial.c.settings_id,
            shorter.c.id.label("shorter"),
            shorter.c.settings_id.label("of"),
            shorter.c.fingerprint,
            kept_state.c.step,
        )
        .join(shorter, shorter.c.id == trial.c.follows)
        .join(kept_state, kept_state.c.trial_id == shorter.c.id)
        .where(among(connection, trial.c.id, keys))
        .where(shorter.c.state == TrialState.COMPLETED, shorter.c.kept_every == 1)
        # nobody deletes the states before they are copied
        .with_for_update(read=True, of=kept_state)
    )
    rows = connection.execute(query).all()
    documents = _documents(connection, {key for row in rows for key in (row.settings_id, row.of)})
    groups = defaultdict[tuple[int, int], list[Any]](list)
    for row in rows:
        groups[row.settings_id, row.of].append(row)
    begun = set[int]()
    for (own, other), members in groups.items():
        steps = copied_steps(documents[other], documents[own])
        if steps is not None:
            trials = [row.id for row in members]
            delete_measurements(connection, trials)
            take_over(connection, trials, steps, documents[own]["measure"])
            begun.update(trials)
    changed = [
        {"key": row.id, "step": row.step, "lineage": _lineage(row.shorter, row.fingerprint, row.step)}
        for row in rows
        if row.id in begun
    ]
    if changed:
        values = {"checkpoint_step": bindparam("step"), "continued_from": bindparam("lineage"), "follows": None}
        connection.execute(update(trial).where(trial.c.id == bindparam("key")).values(**values), changed)
    return frozenset(begun)


def forget(connection: Connection, again: ColumnElement[bool]) -> None:
    """Delete the rows that trials which are to be run again were given before anybody had leased them."""
    given = and_(again, trial.c.attempt == 0, trial.c.continued_from.is_not(None))
    keys = list(connection.scalars(select(trial.c.id).where(given)))
    if keys:
        delete_measurements(connection, keys)


def _lineage(key: int, fingerprint: str, step: int) -> dict[str, Any]:
    return {"trial": trial_id(key), "fingerprint": fingerprint, "step": step}
