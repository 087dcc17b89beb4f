"""Cancel, pause, resume, retry, change and delete experiments; a trial that others want stays as it is."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, and_, delete, literal, select, update

from service.states import TrialState
from service.store.beginnings import follow, forget
from service.store.experiments import Experiment, count_states, get_experiment, is_unfinished, require
from service.store.keys import among
from service.store.models import (
    MEASUREMENT_TABLES,
    attempt,
    checkpoint,
    experiment,
    experiment_trial,
    final,
    idempotency,
    kept_state,
    saved_view,
    search_round,
    settings,
    trial,
)
from service.store.remeasurements import cancel_open, delete_of_trials, forget_experiment
from service.store.session import Store
from service.store.submissions import searches
from service.store.subscriptions import rearm
from service.store.wanting import (
    AS_NEW,
    Piece,
    count_resting,
    in_piece,
    lock_trials,
    one_at_a_time,
    pieces,
    refuse_long_queue,
    settle,
)


def cancel_experiment(store: Store, public_id: str) -> Experiment:
    """Stop wanting every unfinished trial; those that nobody else wants are cancelled, running ones too.

    So is the measuring of kept weights for it. What was measured is kept. Of many trials some are cancelled at a time,
    so that others get their turn: where the store fails meanwhile the rest goes on, and cancelling again ends it.
    Raises NotFound.
    """
    with store.write() as connection:
        number = _begin(connection, public_id)
        connection.execute(update(experiment).where(experiment.c.id == number).values(searching=False))
        cancel_open(connection, number)
        first, *rest = pieces(connection, number)
        _stop_wanting(connection, number, first)
    _in_pieces(store, public_id, rest, _stop_wanting)
    return get_experiment(store, public_id)


def pause_experiment(store: Store, public_id: str) -> Experiment:
    """Lease nothing on its behalf; what runs for it alone goes back to the queue. What has ended stays as it is.

    Many trials are paused some at a time, as they are cancelled. Raises NotFound.
    """
    rest: list[Piece] = []
    with store.write() as connection:
        number = _begin(connection, public_id)
        searching = connection.scalar(select(experiment.c.searching).where(experiment.c.id == number))
        if searching or is_unfinished(count_states(connection, [number])[number]):
            connection.execute(update(experiment).where(experiment.c.id == number).values(paused=True))
            first, *rest = pieces(connection, number)
            settle(connection, number, first)
    _in_pieces(store, public_id, rest, settle)
    return get_experiment(store, public_id)


def resume_experiment(store: Store, public_id: str, max_queued: int | None = None) -> Experiment:
    """Go on after a pause.

    Raises:
        NotFound: there is no such experiment.
        TooMany: its owner would have more than `max_queued` unfinished trials.
    """
    return _change(store, public_id, {"paused": False}, max_queued)


def change_experiment(store: Store, public_id: str, changes: dict[str, Any]) -> Experiment:
    """Change name, notes, tags, star or priority; a new priority holds for what still waits. Raises NotFound."""
    unknown = set(changes) - {"name", "notes", "tags", "priority", "starred"}
    if unknown:
        raise ValueError(f"cannot change {sorted(unknown)}")
    return _change(store, public_id, changes)


def retry_experiment(
    store: Store, public_id: str, which: Literal["failed", "diverged", "cancelled"], max_queued: int | None = None
) -> Experiment:
    """Queue its failed, diverged or cancelled trials again, for every experiment that holds them.

    Raises:
        NotFound: there is no such experiment.
        TooMany: its owner would have more than `max_queued` unfinished trials.
    """
    with store.write() as connection:
        number = _begin(connection, public_id)
        if which == "cancelled":
            left = (experiment_trial.c.experiment_id == number, experiment_trial.c.wanted == literal(False))
            connection.execute(update(experiment_trial).where(*left).values(wanted=True))
        links = select(experiment_trial.c.trial_id).where(
            experiment_trial.c.experiment_id == number, experiment_trial.c.wanted == literal(True)
        )
        again = select(trial.c.id).where(trial.c.id.in_(links), trial.c.state == TrialState(which))
        connection.execute(delete(final).where(final.c.trial_id.in_(again)))
        forget(connection, trial.c.id.in_(again))
        connection.execute(update(trial).where(trial.c.id.in_(again)).values(**AS_NEW))
        follow(connection, number)
        settle(connection, number)
        rearm(connection, number)
        one = connection.execute(select(experiment.c.owner, experiment.c.grid).where(experiment.c.id == number)).one()
        # what is trained again may move a boundary
        again_searching = {"searching": searches(one.grid), "stopped": None}
        connection.execute(update(experiment).where(experiment.c.id == number).values(**again_searching))
        refuse_long_queue(connection, one.owner, max_queued)
    return get_experiment(store, public_id)


def delete_experiment(store: Store, public_id: str) -> None:
    """Delete it and every trial that no other experiment holds, with all that was measured. Raises NotFound."""
    with store.write() as connection:
        number = _begin(connection, public_id)
        connection.execute(update(experiment).where(experiment.c.id == number).values(searching=False))
        for piece in pieces(connection, number):
            _stop_wanting(connection, number, piece)
        links = select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id == number)
        other = experiment_trial.alias()
        is_held = select(other.c.trial_id).where(other.c.trial_id == trial.c.id, other.c.experiment_id != number)
        orphans = list(connection.scalars(select(trial.c.id).where(trial.c.id.in_(links), ~is_held.exists())))
        connection.execute(delete(experiment_trial).where(experiment_trial.c.experiment_id == number))
        connection.execute(delete(idempotency).where(idempotency.c.experiment_id == number))
        connection.execute(delete(saved_view).where(saved_view.c.experiment_id == number))
        connection.execute(delete(search_round).where(search_round.c.experiment_id == number))
        forget_experiment(connection, number)
        connection.execute(delete(experiment).where(experiment.c.id == number))
        for start in range(0, len(orphans), _CHUNK):
            delete_trials(connection, orphans[start : start + _CHUNK])


_CHUNK = 5_000


def delete_trials(connection: Connection, keys: list[int]) -> None:
    """Delete trials that no experiment holds, with all that was measured of them and settings of nobody else."""
    # locked first: a block that is being recorded for one of them ends before its rows are looked for
    lock_trials(connection, among(connection, trial.c.id, keys))
    # those that somebody submits at this moment stay
    is_held = select(1).where(experiment_trial.c.trial_id == trial.c.id).exists()
    free = select(trial.c.id, trial.c.settings_id).where(among(connection, trial.c.id, keys), ~is_held)
    rows = connection.execute(free.order_by(trial.c.id).with_for_update(skip_locked=True, of=trial)).all()
    gone = [row.id for row in rows]
    for table in (*MEASUREMENT_TABLES, final, attempt, checkpoint, kept_state):
        connection.execute(delete(table).where(among(connection, table.c.trial_id, gone)))
    delete_of_trials(connection, gone)
    connection.execute(delete(trial).where(among(connection, trial.c.id, gone)))
    there = select(settings.c.id).where(among(connection, settings.c.id, {row.settings_id for row in rows}))
    left = list(connection.scalars(there.order_by(settings.c.id).with_for_update(skip_locked=True)))
    is_used = select(trial.c.id).where(trial.c.settings_id == settings.c.id).exists()
    connection.execute(delete(settings).where(among(connection, settings.c.id, left), ~is_used))


def _begin(connection: Connection, public_id: str) -> int:
    """The experiment's key, with nobody else changing who wants what."""
    one_at_a_time(connection)
    return require(connection, public_id)


def _in_pieces(
    store: Store, public_id: str, rest: Sequence[Piece], change: Callable[[Connection, int, Piece], None]
) -> None:
    """Change further trials of an experiment, a piece in each transaction."""
    for piece in rest:
        with store.write() as connection:
            change(connection, _begin(connection, public_id), piece)


def _stop_wanting(connection: Connection, number: int, piece: Piece) -> None:
    """Let an experiment want none of these trials that has not ended."""
    link = experiment_trial
    is_open = trial.c.state.in_([TrialState.QUEUED, TrialState.RUNNING])
    here = trial.c.id.in_(select(link.c.trial_id).where(in_piece(link, number, piece)))
    if connection.dialect.name == "postgresql":
        # what ends at this moment has ended
        lock_trials(connection, and_(here, is_open))
    unfinished = select(trial.c.id).where(is_open)
    own = (in_piece(link, number, piece), link.c.trial_id.in_(unfinished))
    connection.execute(update(link).where(*own, link.c.wanted == literal(True)).values(wanted=False))
    settle(connection, number, piece)


def _change(store: Store, public_id: str, values: dict[str, Any], max_queued: int | None = None) -> Experiment:
    rest: list[Piece] = []
    with store.write() as connection:
        number = _begin(connection, public_id)
        was = connection.execute(select(experiment.c.owner, experiment.c.paused).where(experiment.c.id == number)).one()
        if values:
            connection.execute(update(experiment).where(experiment.c.id == number).values(**values))
        if was.paused and max_queued is not None:
            refuse_long_queue(connection, was.owner, max_queued, count_resting(connection, number))
        if values.keys() & {"priority", "paused"}:
            first, *rest = pieces(connection, number)
            settle(connection, number, first)
    _in_pieces(store, public_id, rest, settle)
    return get_experiment(store, public_id)
