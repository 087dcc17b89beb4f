"""Trials that differ in length alone: the longer one goes on from where the shorter one ended, on both databases."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from reports import lease, report
from sqlalchemy import insert, select, update
from training_here import train_everything

from service.errors import StoreReplaced, TooMany
from service.grid.expansion import expand
from service.store import backups, control, kept_states, leases, reports, submissions
from service.store.measured_models import (
    MEASUREMENT_TABLES,
    final,
    kept_state,
    layer_measurement,
    parametrised_measurement,
)
from service.store.models import experiment_trial, trial
from service.store.thinning import thin_experiment
from tests.service.computing import in_time

EVERY = {"every": 16, "metrics": ["train_loss", "alignment", "nfa_dnfa"], "exponents": [0.3], "weights": [0, 32]}


@pytest.fixture
def grid(tiny_grid):
    def make(steps, *, keep="state", measure=EVERY, training=None, **more):
        trial_ = tiny_grid()["trial"]
        trial_ |= {"training": {"keep": keep, **(training or {})}, "measure": measure}
        return tiny_grid(**{"trial": trial_, "axes": {"training.steps": steps}, "seeds": 2} | more)

    return make


def _submit(store, document):
    return submissions.create_experiment(store, expand(document))


def _trials(store, *columns):
    with store.read() as connection:
        query = select(*columns).join(experiment_trial, experiment_trial.c.trial_id == trial.c.id)
        return connection.execute(query.order_by(experiment_trial.c.experiment_id, trial.c.id)).all()


def _measured(store, key):
    """Every row of a trial, its key left out."""
    found = {}
    with store.read() as connection:
        for table in (*MEASUREMENT_TABLES, final):
            rows = connection.execute(select(table).where(table.c.trial_id == key).order_by(*table.primary_key)).all()
            found[table.name] = [tuple(row)[1:] for row in rows]
    return found


def _origins(store):
    """(steps that its last lease began after, whose state it went on from) by trial."""
    return [
        (row.provenance["from_step"], row.provenance.get("continued_from", {}).get("trial"))
        for row in _trials(store, trial.c.provenance)
    ]


def _train(store, leased):
    """Train trials that are leased, to their end."""
    leases.release(store, [(one.trial_id, one.attempt) for one in leased])
    train_everything(store, once=True)


PLATEAU = {"stop": {"plateau": {"metric": "train_loss", "over": 80, "change": 0.1}}}
"""Stops one of the two seeds, at step 144: what must not change begins before each length at which it goes on."""


@pytest.mark.parametrize("training", [{}, {"optimizer": "sgd", "batch_size": 7}, PLATEAU])
def test_a_steps_axis_trains_each_length_from_where_the_shorter_one_ended(store, grid, training):
    _submit(store, grid([64, 128, 192], training=training))
    train_everything(store)
    assert _origins(store) == [(-1, None)] * 2 + [(64, "t1"), (64, "t2"), (128, "t3"), (128, "t4")]
    ours = [_measured(store, row.id) for row in _trials(store, trial.c.id)]
    last = [row.last_step for row in _trials(store, trial.c.last_step)]
    assert last == [64, 64, 128, 128, 192, 144 if training is PLATEAU else 192]
    with store.write() as connection:
        prints = connection.scalars(select(trial.c.fingerprint).order_by(trial.c.id)).all()
    control.delete_experiment(store, "e1")
    for steps in (64, 128, 192):
        _submit(store, grid([steps], keep=None, training=training))
    train_everything(store)
    assert _origins(store) == [(-1, None)] * 6
    theirs = _trials(store, trial.c.id, trial.c.fingerprint)
    assert [row.fingerprint for row in theirs] == prints
    for mine, row in zip(ours, theirs, strict=True):
        np.testing.assert_equal(mine, _measured(store, row.id))


def test_a_longer_trial_waits_for_the_shorter_one_and_is_let_go_when_that_ends_without_a_state(store, grid):
    _submit(store, grid([128, 64], seeds=1))
    (shorter,) = lease(store)
    assert shorter.settings["training"]["steps"] == 64
    assert lease(store) == []
    reports.record(store, report([shorter], [0, 64], ends=True), 30.0)
    (longer,) = lease(store)
    assert (longer.checkpoint_step, longer.continued_from) == (-1, None)


def test_it_does_not_wait_for_what_others_have_yet_to_train(store, grid):
    _submit(store, grid([64], seeds=1))
    _submit(store, grid([128], seeds=1, priority=1))
    (longer,) = lease(store)
    assert longer.settings["training"]["steps"] == 128


@pytest.mark.parametrize("change", [control.pause_experiment, control.cancel_experiment, control.delete_experiment])
def test_it_is_let_go_when_nobody_trains_the_shorter_one_any_more(store, grid, change):
    _submit(store, grid([64, 128], seeds=1))
    _submit(store, grid([128], seeds=1))
    assert [one.settings["training"]["steps"] for one in lease(store)] == [64]
    change(store, "e1")
    assert [one.settings["training"]["steps"] for one in lease(store)] == [128]


def test_a_pause_keeps_what_follows_what(store, grid):
    _submit(store, grid([64, 128], seeds=1))
    control.pause_experiment(store, "e1")
    assert lease(store) == []
    control.resume_experiment(store, "e1")
    train_everything(store)
    assert _origins(store) == [(-1, None), (64, "t1")]


def test_a_kept_state_is_found_by_a_grid_that_is_submitted_later_and_keeps_none(store, grid):
    _submit(store, grid([64]))
    train_everything(store)
    _submit(store, grid([96], keep=None))
    train_everything(store)
    assert _origins(store) == [(-1, None)] * 2 + [(64, "t1"), (64, "t2")]
    with store.read() as connection:
        assert connection.scalars(select(kept_state.c.trial_id)).all() == [1, 2]


@pytest.mark.parametrize(
    "longer",
    [
        {"training": {"schedule": "cosine"}},
        {"training": {"schedule": "warmup"}},
        {"training": {"learning_rate": 0.01}},
        {"measure": {**EVERY, "every": 8}},
        {"measure": {**EVERY, "weights": [16]}},
        {"measure": {"points": 9}},
        {"seeds": [7]},
        {"seeds": 1, "training": {"stop": {"loss_below": 1e-9}}},
    ],
)
def test_what_does_not_begin_alike_begins_at_the_beginning(store, grid, longer):
    _submit(store, grid([64], seeds=1))
    train_everything(store)
    _submit(store, grid([128], **{"seeds": 1, **longer}))
    train_everything(store)
    assert _origins(store) == [(-1, None)] * 2


def test_rows_that_the_longer_trial_does_not_measure_are_not_copied(store, grid):
    _submit(store, grid([50], seeds=1))
    train_everything(store)
    _submit(store, grid([100], seeds=1, measure={**EVERY, "every": 32}))
    train_everything(store)
    assert _origins(store)[1] == (50, "t1")
    assert [row[0] for row in _measured(store, 2)["measurement"]] == [0, 32, 64, 96, 100]
    assert [row[0] for row in _measured(store, 2)["kept_weights"]] == [0, 32]


def test_a_trial_that_was_given_its_beginning_and_cancelled_is_run_again_without_it(store, grid):
    _submit(store, grid([64], seeds=1))
    train_everything(store)
    _submit(store, grid([128], seeds=1))
    _submit(store, grid([40], keep=None, seeds=1, priority=5))
    (other,) = lease(store)
    assert other.settings["training"]["steps"] == 40
    assert len(_measured(store, 2)["measurement"]) == 5
    control.cancel_experiment(store, "e2")
    control.delete_experiment(store, "e1")
    control.retry_experiment(store, "e2", "cancelled")
    train_everything(store)
    assert [row[0] for row in _measured(store, 2)["measurement"]] == [*range(0, 129, 16)]


def test_trials_that_wait_for_shorter_ones_count_in_the_queue_of_their_owner(store, grid):
    with pytest.raises(TooMany, match="4 unfinished trials, and may have 3"):
        submissions.create_experiment(store, expand(grid([64, 128])), max_queued=3)


def test_a_backup_restored_while_a_trial_goes_on_lets_it_go_on_once_more(store, grid, tmp_path):
    _submit(store, grid([64, 128], seeds=1))
    (shorter,) = lease(store)
    _train(store, [shorter])
    (longer,) = lease(store, owner="before")
    assert longer.checkpoint_step == 64
    backups.back_up(store, tmp_path / "backup")
    reports.record(store, replace(report([longer], [80]), is_first=True, resumed_step=64), 30.0)
    backups.restore(store, tmp_path / "backup", replace=True)
    with pytest.raises(StoreReplaced):
        reports.record(store, report([longer], [96], first=False), 30.0)
    store.incarnation = None
    assert leases.sweep(store) == 1
    (again,) = lease(store, owner="after")
    assert (again.checkpoint_step, again.continued_from) == (64, longer.continued_from)
    leases.release(store, [(again.trial_id, again.attempt)])
    train_everything(store)
    assert _origins(store)[1] == (64, "t1")
    assert [row[0] for row in _measured(store, 2)["measurement"]] == [*range(0, 129, 16)]


def test_a_state_that_cannot_be_read_costs_the_beginning_and_nothing_else(store, grid):
    _submit(store, grid([64], seeds=1))
    train_everything(store)
    _submit(store, grid([128], seeds=1))
    (longer,) = lease(store)
    held = [(longer.trial_id, longer.attempt)]
    leases.restart(store, held, 30.0, charge=False, error="cannot be read", afresh=True)
    leases.release(store, [(longer.trial_id, longer.attempt + 1)])
    train_everything(store)
    assert _origins(store)[1] == (-1, None)
    assert [row[0] for row in _measured(store, 2)["measurement"]] == [*range(0, 129, 16)]


def test_states_are_bounded_and_the_oldest_that_nobody_waits_for_go(store, grid):
    def kept():
        with store.read() as connection:
            return connection.execute(select(kept_state.c.trial_id, kept_state.c.bytes)).all()

    for steps in (64, 80, 96):
        _submit(store, grid([steps], seeds=1, measure={**EVERY, "weights": []}))
        train_everything(store)
    size = max(row.bytes for row in kept())
    assert kept_states.bound_states(store, 3 * size) == 0
    _submit(store, grid([70], keep=None, seeds=1, measure={**EVERY, "weights": []}))
    assert kept_states.bound_states(store, size) == 2
    assert [row.trial_id for row in kept()] == [1]
    train_everything(store)
    assert _origins(store)[3] == (64, "t1")
    assert kept_states.bound_states(store, 0) == 1
    assert kept() == []


def test_a_thinned_trial_is_gone_on_from_no_more(store, grid):
    _submit(store, grid([64], seeds=1))
    train_everything(store)
    thin_experiment(store, "e1", 2)
    _submit(store, grid([128], seeds=1))
    train_everything(store)
    assert _origins(store)[1] == (-1, None)


def test_what_was_measured_again_of_the_shorter_trial_stays_its_own(store, grid):
    _submit(store, grid([64], seeds=1))
    train_everything(store)
    named = {"trial_id": 1, "step": 32, "value": 0.5}
    with store.write() as connection:
        connection.execute(insert(parametrised_measurement), [named | {"layer": 0, "name": "sharpness"}])
        connection.execute(insert(parametrised_measurement), [named | {"layer": 1, "name": "alignment@0.7"}])
        connection.execute(insert(layer_measurement), [{"trial_id": 1, "step": 32, "layer": 2, "alignment": 0.5}])
        connection.execute(update(layer_measurement).values(residual=0.5))
    _submit(store, grid([128], seeds=1))
    train_everything(store)
    assert _origins(store)[1] == (64, "t1")
    with store.read() as connection:
        names = connection.scalars(
            select(parametrised_measurement.c.name).where(parametrised_measurement.c.trial_id == 2)
        )
        assert set(names) == {"alignment@0.3"}
        rows = connection.execute(select(layer_measurement).where(layer_measurement.c.trial_id == 2)).all()
    assert {(row.layer, row.residual) for row in rows} == {(1, None)} and len(rows) == 9


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_many_lengths_that_keep_their_states_are_submitted_in_time(store):
    trial = {"training": {"keep": "state"}, "measure": {"every": 1}}
    axes = {"training.steps": {"linear": [9_997_001, 10_000_000, 3_000]}}
    seeds = itertools.count()

    def submit() -> int:
        many = expand({"trial": trial, "axes": axes, "seeds": [next(seeds)]})
        return submissions.create_experiment(store, many).new

    assert in_time(submit, 3.0) == 3_000
