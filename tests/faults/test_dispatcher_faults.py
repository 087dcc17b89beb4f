"""Dispatchers and trainers are killed, stopped and continued; every trial ends once, with every step once."""

import os
import signal

import pytest
from comparison import LONG_GRID, STEPS, assert_as_undisturbed
from processes import charged, ended, progress, rows, trainers, wait_for_end, wait_for_rows, wait_until
from sqlalchemy import create_engine, func, make_url, select, text

from service.grid.expansion import expand
from service.states import TrialState
from service.store import cluster, control, experiments, ids, submissions
from service.store.models import trial

on_sqlite_alone = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
on_postgresql_alone = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
_OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"
"""Of PostgreSQL's sessions, those of others with the same store."""


@pytest.fixture
def submitted(store):
    """The grid, submitted."""
    return submissions.create_experiment(store, expand(LONG_GRID)).id


def test_a_killed_dispatchers_trials_are_taken_over_with_no_row_missing_or_double(store, dispatchers, submitted):
    first = dispatchers.start()
    wait_until(lambda: _checkpoints(store), grown=lambda: progress(store))
    first.signal(signal.SIGKILL)
    first.process.wait()
    wait_until(lambda: _is_left_alone(store))
    left = _checkpoints(store)
    assert left
    second = dispatchers.start()
    wait_for_end(store, submitted)
    assert_as_undisturbed(store, submitted)
    assert charged(store) == 0
    started = _first_steps(second)
    assert {name: started[name] for name in left} == left, "it goes on from checkpoints"


def _checkpoints(store):
    """Steps of checkpoints beyond the beginning, by trial."""
    with store.read() as connection:
        found = connection.execute(select(trial.c.id, trial.c.checkpoint_step).where(trial.c.checkpoint_step > 0))
        return {ids.trial_id(key): step for key, step in found}


def _is_left_alone(store):
    """Whether nobody else has a session with the store: a killed process's last commit is there, or never will be."""
    if store.dialect == "sqlite":
        return True
    with store.read() as connection:
        return connection.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {_OTHERS}")) == 0


def _first_steps(dispatcher):
    """The step of the checkpoint from which a dispatcher first went on with each trial."""
    started = dispatcher.events("stack_started")
    return {name: event["from_step"] for event in reversed(started) for name in event["trial"]}


@on_sqlite_alone
def test_a_killed_trainer_is_replaced_and_nobody_is_charged(store, dispatchers, submitted):
    dispatcher = dispatchers.start()
    wait_for_rows(store)
    os.kill(wait_until(lambda: min(trainers(store), default=None)), signal.SIGKILL)
    wait_for_end(store, submitted)
    assert_as_undisturbed(store, submitted)
    assert charged(store) == 0
    wait_until(lambda: dispatcher.events("trainer_died", "idle_trainer_died"))


@on_postgresql_alone
def test_a_database_that_ends_every_session_loses_and_doubles_nothing(store, dispatchers, submitted):
    dispatchers.start()
    before = 0
    for _ in range(8):
        wait_until(lambda before=before: rows(store) > before or ended(store, submitted), grown=lambda: progress(store))
        before = _end_sessions_of_others(store)
    wait_for_end(store, submitted)
    assert_as_undisturbed(store, submitted)
    assert charged(store) == 0


@on_postgresql_alone
def test_a_database_that_is_away_for_a_lease_leaves_no_gap_in_any_curve(store, dispatchers, submitted, postgresql):
    dispatcher = dispatchers.start()
    wait_for_rows(store)
    engine = create_engine(make_url(postgresql).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as administrator:
        accept = f"ALTER DATABASE {store.url.database} ALLOW_CONNECTIONS"
        administrator.execute(text(f"{accept} false"))
        everyone = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{store.url.database}'"
        administrator.execute(text(everyone))
        wait_until(lambda: dispatcher.missed_the_store() > 4)
        administrator.execute(text(f"{accept} true"))
    engine.dispose()
    wait_for_end(store, submitted)
    assert_as_undisturbed(store, submitted)
    assert charged(store) == 0


def _end_sessions_of_others(store):
    """Rows that were in the store when every other session with it was ended."""
    before = rows(store)
    with store.read() as connection:
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_OTHERS}"))
    return before


def test_a_dispatcher_stopped_past_its_lease_cannot_write_when_it_goes_on(store, dispatchers, submitted):
    # it must live to try
    stale = dispatchers.start(NFA_STUCK_SECONDS="1000")
    wait_for_rows(store)
    before = wait_until(lambda: _held_while_paused(store, stale), grown=lambda: progress(store))
    dispatchers.start()
    wait_until(lambda: _attempts(store, before) > sum(before.values()), grown=lambda: progress(store))
    stale.signal(signal.SIGCONT)
    wait_for_end(store, submitted)
    assert_as_undisturbed(store, submitted)


def _held_while_paused(store, dispatcher):
    """Attempts by trial of what a dispatcher holds, now stopped; between two stacks it holds nothing and goes on."""
    if not dispatcher.pause_between_transactions(store):
        return None
    with store.read() as connection:
        held = dict(connection.execute(select(trial.c.id, trial.c.attempt).where(trial.c.state == "running")).all())
    if not held:
        dispatcher.signal(signal.SIGCONT)
    return held


def _attempts(store, keys):
    with store.read() as connection:
        return connection.scalar(select(func.sum(trial.c.attempt)).where(trial.c.id.in_(keys)))


def test_sigterm_hands_unfinished_trials_back_within_ten_seconds(store, dispatchers, submitted):
    dispatcher = dispatchers.start()
    wait_for_rows(store)
    dispatcher.signal(signal.SIGTERM)
    assert dispatcher.process.wait(10) == 0
    counts = experiments.get_experiment(store, submitted).counts
    assert counts[TrialState.RUNNING] == 0
    assert counts[TrialState.QUEUED] > 0
    assert cluster.list_dispatchers(store) == []
    assert charged(store) == 0


def test_cancelling_frees_the_trainers_for_other_work(store, dispatchers, submitted, tiny_grid):
    dispatcher = dispatchers.start()
    wait_for_rows(store)
    control.cancel_experiment(store, submitted)
    other = submissions.create_experiment(store, expand(tiny_grid())).id
    wait_for_end(store, other)
    wait_until(lambda: len(dispatcher.events("stack_ended")) == len(dispatcher.events("stack_started")))
    ends = [event for event in dispatcher.events("stack_ended") if event["experiment"] == [submitted]]
    whole = [event["trials"] for event in ends if event["lane_steps"] == event["trials"] * STEPS]
    counts = experiments.get_experiment(store, submitted).counts
    assert counts[TrialState.CANCELLED] > 0
    assert len(whole) < len(ends) and sum(whole) <= counts[TrialState.COMPLETED], "cancelled stacks are cut short"
    assert rows(store) > 50


@on_sqlite_alone
def test_a_dispatcher_without_ray_or_schema_or_sense_says_so_in_one_line_and_exits(dispatchers, tmp_path):
    no_ray = dispatchers.start(NFA_RAY_ADDRESS="127.0.0.1:1")
    assert no_ray.process.wait(120) == 1
    assert "no Ray answers at '127.0.0.1:1'" in no_ray.events()[-1]["error"]
    no_schema = dispatchers.start(NFA_DATABASE_URL=f"sqlite:///{tmp_path / 'empty' / 'nfa.db'}")
    assert no_schema.process.wait(120) == 1
    assert "run `nfa db upgrade`" in no_schema.events()[-1]["error"]
    hasty = dispatchers.start(NFA_LEASE_SECONDS="1", NFA_HEARTBEAT_SECONDS="1")
    assert hasty.process.wait(120) == 1
    assert "at least three of them, 3 with NFA_HEARTBEAT_SECONDS=1" in hasty.events()[-1]["error"]
