"""Dispatchers and trainers are killed, stopped and continued; every trial ends once, with every step once."""

import functools
import os
import signal

import numpy as np
import pyarrow as pa
import pytest
from processes import charged, ended, rows, wait_until
from sqlalchemy import create_engine, func, make_url, select, text

from service.grids import expand
from service.measured_steps import measured_steps
from service.states import TrialState
from service.store import cluster, control, experiments, submissions, trials
from service.store.models import layer_measurement, measurement, trial
from workers.blocks import Lane, Stack
from workers.training import train

STEPS = 24_000
GRID = {
    "name": "long enough to be disturbed",
    "trial": {
        "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
        "network": {"width": 6},
        "training": {"steps": STEPS, "learning_rate": 0.01},
        "measure": {"every": 120},
    },
    "axes": {"network.depth": [2, 3], "training.weight_decay": [0, 0.1]},
    "seeds": 3,
}


on_sqlite_alone = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
on_postgresql_alone = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


@functools.cache
def _undisturbed() -> dict[str, dict[int, float]]:
    """Alignment by step of every trial of the grid, by fingerprint, trained here without any service."""
    found = {}
    for _, point, seed, fingerprint in expand(GRID).trials():
        blocks = list(train(Stack((Lane(point.settings, seed),))))
        rows = pa.Table.from_batches([block.layers for block in blocks])
        found[fingerprint] = dict(zip(rows["step"].to_pylist(), rows["alignment"].to_pylist(), strict=True))
    return found


def _assert_as_undisturbed(store, experiment):
    """Every trial completed, with exactly the rows and the values of an undisturbed run."""
    listed, _ = trials.list_trials(store, experiment, state=None, where="", sort=None, limit=100, after=None)
    assert {one.row.state for one in listed} == {TrialState.COMPLETED}
    steps = measured_steps(listed[0].row.settings)
    for one in listed:
        with store.read() as connection:
            rows = connection.execute(
                select(layer_measurement.c.step, layer_measurement.c.alignment)
                .where(layer_measurement.c.trial_id == one.row.id)
                .order_by(layer_measurement.c.step)
            ).all()
            network = connection.scalars(select(measurement.c.step).where(measurement.c.trial_id == one.row.id))
            assert sorted(network) == [row.step for row in rows] == steps
        wanted = _undisturbed()[one.row.fingerprint]
        np.testing.assert_allclose([row.alignment for row in rows], [wanted[s] for s in steps], rtol=0, atol=1e-12)


@pytest.fixture
def submitted(store):
    """The grid, submitted."""
    return submissions.create_experiment(store, expand(GRID)).id


def test_a_killed_dispatchers_trials_are_taken_over_with_no_row_missing_or_double(store, dispatchers, submitted):
    first = dispatchers.start()
    wait_until(lambda: rows(store) > 50)
    first.signal(signal.SIGKILL)
    first.process.wait(10)
    assert not ended(store, submitted)
    dispatchers.start()
    wait_until(lambda: ended(store, submitted))
    _assert_as_undisturbed(store, submitted)
    assert charged(store) == 0


@on_sqlite_alone
def test_a_killed_trainer_is_replaced_and_nobody_is_charged(store, dispatchers, submitted):
    dispatchers.start()
    wait_until(lambda: rows(store) > 50)
    (about,) = cluster.list_dispatchers(store)
    os.kill(about.resources["trainers"][0]["pid"], signal.SIGKILL)
    wait_until(lambda: ended(store, submitted))
    _assert_as_undisturbed(store, submitted)
    assert charged(store) == 0
    assert any(event["event"] == "trainer_died" for event in dispatchers.started[0].events())


@on_postgresql_alone
def test_a_database_that_ends_every_session_loses_and_doubles_nothing(store, dispatchers, submitted):
    dispatchers.start()
    before = 0
    for _ in range(8):
        wait_until(lambda before=before: rows(store) > before or ended(store, submitted))
        before = _end_sessions_of_others(store)
    wait_until(lambda: ended(store, submitted))
    _assert_as_undisturbed(store, submitted)
    assert charged(store) == 0


@on_postgresql_alone
def test_a_database_that_is_away_for_most_of_a_lease_leaves_no_gap_in_any_curve(
    store, dispatchers, submitted, postgresql
):
    dispatcher = dispatchers.start()
    wait_until(lambda: rows(store) > 50)
    engine = create_engine(make_url(postgresql).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as administrator:
        accept = f"ALTER DATABASE {store.url.database} ALLOW_CONNECTIONS"
        administrator.execute(text(f"{accept} false"))
        everyone = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{store.url.database}'"
        administrator.execute(text(everyone))
        wait_until(lambda: any(event["event"] == "stack_dropped" for event in dispatcher.events()))
        administrator.execute(text(f"{accept} true"))
    engine.dispose()
    wait_until(lambda: ended(store, submitted))
    _assert_as_undisturbed(store, submitted)
    assert charged(store) == 0


def _end_sessions_of_others(store):
    """Rows that were in the store when every other session with it was ended."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    before = rows(store)
    with store.read() as connection:
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
    return before


def test_a_dispatcher_stopped_past_its_lease_cannot_write_when_it_goes_on(store, dispatchers, submitted):
    stale = dispatchers.start(NFA_TRAINERS="1")
    wait_until(lambda: rows(store) > 50)
    wait_until(lambda: stale.pause_between_transactions(store))
    dispatchers.start(NFA_TRAINERS="1")
    with store.read() as connection:
        before = dict(connection.execute(select(trial.c.id, trial.c.attempt).where(trial.c.state == "running")).all())
    wait_until(lambda: _attempts(store, before) > sum(before.values()))
    stale.signal(signal.SIGCONT)
    wait_until(lambda: ended(store, submitted))
    _assert_as_undisturbed(store, submitted)


def _attempts(store, keys):
    with store.read() as connection:
        return connection.scalar(select(func.sum(trial.c.attempt)).where(trial.c.id.in_(keys)))


def test_sigterm_hands_unfinished_trials_back_within_ten_seconds(store, dispatchers, submitted):
    dispatcher = dispatchers.start()
    wait_until(lambda: rows(store) > 50)
    dispatcher.signal(signal.SIGTERM)
    assert dispatcher.process.wait(10) == 0
    counts = experiments.get_experiment(store, submitted).counts
    assert counts[TrialState.RUNNING] == 0
    assert counts[TrialState.QUEUED] > 0
    assert cluster.list_dispatchers(store) == []
    assert charged(store) == 0


def test_cancelling_frees_the_trainers_for_other_work(store, dispatchers, submitted, tiny_grid):
    dispatchers.start()
    wait_until(lambda: rows(store) > 50)
    control.cancel_experiment(store, submitted)
    other = submissions.create_experiment(store, expand(tiny_grid())).id
    wait_until(lambda: ended(store, other), seconds=10)
    kept = rows(store)
    assert experiments.get_experiment(store, submitted).counts[TrialState.CANCELLED] > 0
    assert kept > 50


@on_sqlite_alone
def test_a_dispatcher_without_ray_or_schema_says_so_in_one_line_and_exits(dispatchers, tmp_path):
    no_ray = dispatchers.start(NFA_RAY_ADDRESS="127.0.0.1:1")
    assert no_ray.process.wait(20) == 1
    assert "no Ray answers at '127.0.0.1:1'" in no_ray.events()[-1]["error"]
    no_schema = dispatchers.start(NFA_DATABASE_URL=f"sqlite:///{tmp_path / 'empty' / 'nfa.db'}")
    assert no_schema.process.wait(20) == 1
    assert "run `nfa db upgrade`" in no_schema.events()[-1]["error"]
