"""Kept weights measured again: what is asked, leased, fenced and written, on both databases."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import delete, select, update
from training_here import measure_everything, measured, train_everything

from nfa_kernels import names
from service.errors import InvalidClaims, InvalidRequest, NotFound, StoreReplaced, TooMany
from service.grid.expansion import expand
from service.grid.problems import Problems
from service.grid.remeasurement import Remeasuring
from service.questions.claimed_grids import check_claims
from service.questions.judging import parse_claims
from service.store import claims as claim_store
from service.store import (
    control,
    incarnation,
    leases,
    remeasurement_leases,
    remeasurement_reports,
    submissions,
    trials,
    versions,
)
from service.store.curves import CurveQuestion, curves
from service.store.measured_models import final, kept_weights, layer_measurement, measurement, parametrised_measurement
from service.store.models import experiment, holder, remeasured_trial, remeasurement, trial
from service.store.remeasurements import list_remeasurements, measure_again
from service.store.session import lease_clock, open_store
from service.store.sweeps import open_sweep
from service.store.verdicts import judged

TRIAL = {
    "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1], "test_samples": 8},
    "network": {"depth": 3, "width": 5, "activation": "tanh"},
    "training": {"steps": 20},
    "measure": {"points": 4, "metrics": ["alignment"], "weights": [0, 7, 20]},
}
EVERYTHING = ["default", "gram_norm", "pearson", "nfa_dnfa", "c_nfa", "agop_singular_value@1", "generalisation_gap"]


def _grid(**more):
    return {"name": "kept", "trial": TRIAL, "axes": {"training.weight_decay": [0, 0.1]}, "seeds": 2} | more


def _trained(store, **more):
    created = submissions.create_experiment(store, expand(_grid(**more))).id
    train_everything(store)
    return created


def _asked(**body):
    return Remeasuring.model_validate({"metrics": ["pearson"], **body}).asked()


def _again(store, experiment, **body):
    return measure_again(store, experiment, _asked(**body))


def _lease(store, owner="d1", lanes=100, seconds=30.0):
    return remeasurement_leases.lease_weights(store, owner, lease_seconds=seconds, choose=lambda s, waiting: lanes)


def _rows(store, table=layer_measurement):
    with store.read() as connection:
        return connection.execute(select(table).order_by(*table.primary_key.columns)).mappings().all()


def _expire(store):
    with store.write() as connection:
        connection.execute(update(remeasured_trial).values(lease_until=-1.0))


def test_a_metric_measured_again_is_what_training_would_have_measured(store):
    late = _trained(store)
    metrics = [*EVERYTHING[1:], "train_loss", "accuracy", "best_exponent"]
    asked = {"metrics": metrics, "layers": "all", "exponents": [0.25]}
    done = _again(store, late, **asked)
    assert (done.trials, done.counts["queued"], done.definitions["pearson"]) == (4, 4, 1)
    assert measure_everything(store) == 1
    every = {**TRIAL, "measure": {**TRIAL["measure"], **asked, "metrics": [*metrics, "alignment"], "steps": [0, 7, 20]}}
    every["measure"].pop("points")
    _trained(store, trial=every)
    numbers = 0
    for table in (measurement, layer_measurement, parametrised_measurement):
        found = {tuple(row[key.name] for key in table.primary_key.columns): row for row in _rows(store, table)}
        for key, twin in found.items():
            row = found.get((key[0] + 4, *key[1:]))
            # steps of the first grid that were not asked about have no twin
            if row is not None:
                names = [name for name in row if row[name] is not None and name in (*metrics, "value")]
                numbers += len(names)
                np.testing.assert_allclose([twin[name] for name in names], [row[name] for name in names], rtol=1e-11)
    # of 4 trials at 3 steps; c_nfa and nfa_dnfa are undefined before the first step
    assert numbers == 4 * (3 * (1 + 1) + 3 * 3 * (3 + 2) + 2 * 3 * 2)
    assert [one.counts["completed"] for one in list_remeasurements(store, late)] == [4]


def test_numbers_that_are_there_stay_unless_the_definition_is_another_one(store, monkeypatch):
    experiment = _trained(store)
    with store.write() as connection:
        connection.execute(update(layer_measurement).values(alignment=0.125))
        connection.execute(update(final).values(alignment=0.125))
    done = _again(store, experiment, metrics=["alignment", "gram_norm"])
    measure_everything(store)
    rows = _rows(store)
    assert {row["alignment"] for row in rows if row["step"] in (0, 20)} == {0.125}
    assert all(row["gram_norm"] > 0 for row in rows if row["step"] in (0, 7, 20))
    assert (done.replaced, list_remeasurements(store, experiment)[0].replaced) == ([], [])
    # step 7 was measured by nobody, and has all that the trial measures now
    assert all(row["alignment"] not in (None, 0.125) for row in rows if row["step"] == 7)
    monkeypatch.setitem(names.METRICS, "alignment", replace(names.METRICS["alignment"], version=2))
    newer = _again(store, experiment, metrics=["alignment", "gram_norm"])
    assert (newer.trials, newer.definitions) == (4, {"alignment": 2, "gram_norm": 1})
    measure_everything(store)
    assert 0.125 not in {row["alignment"] for row in _rows(store) if row["step"] in (0, 20)}
    assert 0.125 not in {row["alignment"] for row in _rows(store, final)}
    assert [one.replaced for one in list_remeasurements(store, experiment)] == [[], ["alignment"]]
    assert trials.get_trial(store, "t1").definitions["alignment"] == 2
    again = _again(store, experiment, metrics=["alignment", "gram_norm"])
    assert (again.id, again.left_out["already"]["count"]) == (None, 4)


def test_what_keeps_no_weights_is_listed(store):
    one = _trained(store)
    with store.write() as connection:
        connection.execute(delete(kept_weights).where(kept_weights.c.trial_id == 2))
        connection.execute(delete(kept_weights).where(kept_weights.c.trial_id == 3, kept_weights.c.step == 20))
        connection.execute(update(trial).where(trial.c.id == 4).values(state="failed"))
    found = _again(store, one, at="final").left_out
    assert {name: part["trials"] for name, part in found.items()} == {
        "without_weights": ["t2", "t3"],
        "without_layers": [],
        "without_inputs": [],
        "unfinished": ["t4"],
        "already": [],
    }
    assert {name: part["count"] for name, part in found.items() if part["count"]} == {
        "without_weights": 2,
        "unfinished": 1,
    }
    assert _again(store, one, at=[0, 7]).trials == 2


def test_what_a_trial_measured_itself_is_not_measured_again(store):
    one = _trained(store)
    assert _again(store, one, metrics=["alignment"], at=[0, 20]).left_out["already"]["count"] == 4
    assert _again(store, one, metrics=["alignment"], at=[7]).trials == 4
    assert _again(store, one, metrics=["alignment"], layers=[2], at=[0]).trials == 4


def test_wrong_steps_layers_and_experiments_are_refused_with_what_there_is(store):
    one = _trained(store)
    with pytest.raises(InvalidRequest, match=r"received 8, of which no trial keeps weights; kept are .* 0, 7, 20"):
        _again(store, one, at=[7, 8])
    with pytest.raises(InvalidRequest, match=r"layers: received \[4\], .* layers 1 to 3"):
        _again(store, one, layers=[4])
    with pytest.raises(NotFound, match="e9"):
        _again(store, "e9")
    with pytest.raises(TooMany, match=r"would have 4 trials .* may have 3"):
        measure_again(store, one, _asked(), max_queued=3)
    assert list_remeasurements(store, one) == []


def test_numbers_are_written_once_whoever_measures_them_late(store):
    one = _trained(store)
    _again(store, one)
    first = _lease(store)
    late = measured(store, first)
    _expire(store)
    assert remeasurement_leases.sweep_weights(store) == 4
    second = _lease(store, "d2")
    assert [lane.attempt for lane in second] == [2] * 4
    keys = frozenset(lane.key for lane in first)
    assert remeasurement_leases.compare_weights(store, "d1", [(lane.key, lane.attempt) for lane in first]) == keys
    assert remeasurement_reports.record_weights(store, late) == keys
    assert {row["pearson"] for row in _rows(store)} == {None}
    report = measured(store, second)
    assert remeasurement_reports.record_weights(store, report) == frozenset()
    written = _rows(store)
    assert remeasurement_reports.record_weights(store, report) == keys, "a report whose answer was lost"
    assert _rows(store) == written
    assert list_remeasurements(store, one)[0].counts["completed"] == 4
    assert {row["state"] for row in _rows(store, trial)} == {"completed"}


def _states(store):
    return [row["state"] for row in _rows(store, remeasured_trial)]


def test_leases_hold_as_long_as_their_holders_and_renewing_rewrites_none_of_them(store):
    _again(store, _trained(store))
    leased = _lease(store, "lives", lanes=2) + _lease(store, "dies", lanes=2)
    before = _rows(store, remeasured_trial)
    assert all(row["lease_until"] is None for row in before)
    leases.renew_all(store, "lives", 30.0)
    held = [(lane.key, lane.attempt) for lane in leased[:2]]
    assert remeasurement_leases.compare_weights(store, "lives", held) == frozenset()
    assert remeasurement_leases.sweep_weights(store) == 0
    assert _rows(store, remeasured_trial) == before
    with store.write() as connection:
        connection.execute(update(holder).where(holder.c.owner == "dies").values(until=-1.0))
    assert remeasurement_leases.sweep_weights(store) == 2
    assert _states(store) == ["running", "running", "queued", "queued"]
    # one that signs off leaves nothing behind, and one that never renewed is not known
    with store.write() as connection:
        connection.execute(delete(holder))
    assert remeasurement_leases.sweep_weights(store) == 2


def test_what_was_leased_by_an_answer_that_never_came_is_put_back(store):
    _again(store, _trained(store))
    known = [(lane.key, lane.attempt) for lane in _lease(store, lanes=1)]
    lost = _lease(store, lanes=2)
    others = _lease(store, "d2", lanes=1)
    assert remeasurement_leases.compare_weights(store, "d1", known) == frozenset()
    assert sorted(_states(store)) == ["queued", "queued", "running", "running"]
    assert [lane.key for lane in _lease(store, "d3")] == [lane.key for lane in lost]
    assert remeasurement_reports.record_weights(store, measured(store, others)) == frozenset()


def test_leases_of_an_older_version_hold_by_their_own_time(store):
    _again(store, _trained(store))
    _lease(store, "old")
    with store.write() as connection:
        now, _ = lease_clock(connection)
        # an older version notes no holder
        connection.execute(delete(holder))
        connection.execute(update(remeasured_trial).values(lease_until=now + 60.0))
    assert remeasurement_leases.sweep_weights(store) == 0
    _expire(store)
    assert remeasurement_leases.sweep_weights(store) == 4


def test_one_row_of_two_that_measure_is_held_by_each(store):
    _again(store, _trained(store))
    mine, yours = _lease(store, lanes=2), _lease(store, "d2", lanes=100)
    assert {one.trial_id for one in mine}.isdisjoint(one.trial_id for one in yours)
    assert len(mine) + len(yours) == 4
    assert _lease(store, "d3") == []


def test_a_trial_that_is_trained_again_meanwhile_gets_no_numbers_of_its_old_weights(store):
    one = _trained(store)
    _again(store, one)
    report = measured(store, _lease(store))
    with store.write() as connection:
        connection.execute(update(trial).where(trial.c.id == 2).values(attempt=trial.c.attempt + 1))
    assert remeasurement_reports.record_weights(store, report) == frozenset()
    done = list_remeasurements(store, one)[0]
    assert (done.counts["completed"], done.counts["cancelled"]) == (3, 1)
    assert done.errors == ["t2: its trial was trained again meanwhile: ask once more when that has ended"]
    assert {row["pearson"] for row in _rows(store) if row["trial_id"] == 2} == {None}


def test_a_restored_store_measures_again_what_was_being_measured(store, store_url):
    one = _trained(store)
    _again(store, one)
    report = measured(store, _lease(store))
    with open_store(store_url) as restored:
        with restored.write() as connection:
            incarnation.begin(connection)
        with pytest.raises(StoreReplaced):
            remeasurement_reports.record_weights(store, report)
        assert remeasurement_leases.sweep_weights(restored) == 4
        assert measure_everything(restored) == 1
        assert list_remeasurements(restored, one)[0].counts["completed"] == 4


def test_a_cancelled_experiment_measures_nothing_more_and_keeps_what_it_has(store):
    one = _trained(store)
    _again(store, one)
    mine = _lease(store, lanes=2)
    remeasurement_reports.record_weights(store, measured(store, mine))
    held = _lease(store, lanes=1)
    control.cancel_experiment(store, one)
    assert remeasurement_reports.record_weights(store, measured(store, held)) == {held[0].key}
    assert _lease(store) == []
    counts = list_remeasurements(store, one)[0].counts
    assert (counts["completed"], counts["cancelled"]) == (2, 2)


def test_a_paused_experiment_waits_and_one_of_higher_priority_comes_first(store):
    low, high = _trained(store), _trained(store, seeds=[7], priority=5)
    _again(store, low)
    _again(store, high)
    assert {lane.queued_for for lane in _lease(store)} == {2}
    control.resume_experiment(store, low)
    with store.write() as connection:
        connection.execute(update(experiment).where(experiment.c.id == 1).values(paused=True))
    assert _lease(store) == []
    control.resume_experiment(store, low)
    assert {lane.queued_for for lane in _lease(store)} == {1}


def test_a_deleted_experiment_leaves_what_trials_of_others_were_measured(store):
    one = _trained(store)
    other = submissions.create_experiment(store, expand(_grid(seeds=1))).id
    _again(store, one)
    measure_everything(store)
    control.delete_experiment(store, one)
    assert {row["trial_id"] for row in _rows(store, remeasured_trial)} == {1, 3}
    assert "pearson" in trials.get_trial(store, "t1").final
    control.delete_experiment(store, other)
    assert _rows(store, remeasured_trial) == _rows(store, remeasurement) == []


def test_a_stack_that_crashes_is_halved_until_the_culprit_is_alone_and_given_up(store):
    one = _trained(store)
    _again(store, one)
    lanes = []
    while leased := _lease(store):
        lanes.append(len(leased))
        held = [(lane.key, lane.attempt) for lane in leased]
        if 3 in [lane.trial_id for lane in leased]:
            remeasurement_leases.fail_weights(store, held, "it crashed", is_final=False)
        else:
            remeasurement_reports.record_weights(store, measured(store, leased))
    counts = list_remeasurements(store, one)[0].counts
    assert (counts["completed"], counts["failed"]) == (3, 1)
    assert max(lanes) == 4 and lanes.count(1) >= remeasurement_leases.MAX_FAILURES
    assert list_remeasurements(store, one)[0].errors == ["t3: it crashed"]
    assert _again(store, one).trials == 1, "it may be asked for once more"


def test_answers_that_were_cached_are_out_of_date_once_more_was_measured(store):
    one = _trained(store)
    before = versions.version_of(store, [one]), versions.trial_version(store, 1)
    _again(store, one)
    assert before == (versions.version_of(store, [one]), versions.trial_version(store, 1))
    measure_everything(store)
    after = versions.version_of(store, [one]), versions.trial_version(store, 1)
    assert before[0] != after[0] and before[1] != after[1]


def test_what_was_measured_again_is_asked_for_as_all_else(store):
    one = _trained(store)
    _again(store, one, metrics=["pearson", "agop_singular_value@1"], layers=[1, 2])
    measure_everything(store)
    final_values = trials.get_trial(store, "t1").final
    assert {"pearson", "pearson[2]", "agop_singular_value@1", "agop_singular_value@1[2]"} <= set(final_values)
    series = trials.trial_series(store, "t1", None, 2, None)
    assert [value for value in series["pearson"] if value is not None] != []
    listed, _ = trials.list_trials(
        store, one, state=None, where="final.pearson[2] > -2", sort="-final.pearson", limit=9, after=None
    )
    assert len(listed) == 4
    sweep = open_sweep(store, one, "layer")
    assert {"pearson", "agop_singular_value@1"} <= set(sweep.schema)
    claim = {"id": "again", "says": "x", "metric": "pearson", "layer": 2, "every_trial": ">= -1"}
    claims, problems = parse_claims([claim]), Problems()
    check_claims(claims, claim_store.measured_in(store, one), problems)
    problems.raise_as(InvalidClaims)
    verdicts = judged(store, claim_store.add_claims(store, one, [claim]))
    # those that did not learn pass no gate
    assert [(verdict["trials"], verdict["left_out"]["gate"]) for verdict in verdicts] == [(2, 2)]


def test_trials_whose_data_have_no_such_inputs_are_left_out(store):
    tests = {"data.test_samples": [0, 8]}
    one = _trained(store, axes=tests, trial={**TRIAL, "data": {**TRIAL["data"], "test_samples": 8}})
    done = _again(store, one, metrics=["alignment"], inputs=["test"], at=[20])
    assert (done.trials, done.left_out["without_inputs"]["trials"]) == (2, ["t1", "t2"])
    measure_everything(store)
    rows = _rows(store, parametrised_measurement)
    assert {(row["trial_id"], row["step"], row["name"]) for row in rows} == {
        (3, 20, "alignment/test"),
        (4, 20, "alignment/test"),
    }
    assert all(row["value"] is not None for row in rows)


def test_curves_over_time_have_the_times_of_steps_that_some_trials_alone_measured_again(store):
    one = _trained(store, axes={}, seeds=3)
    with store.write() as connection:
        connection.execute(delete(kept_weights).where(kept_weights.c.trial_id == 1))
    _again(store, one)
    measure_everything(store)
    question = CurveQuestion(("data.kind",), "alignment", 1, ("count",), "", None, False)
    [curve] = curves(store, one, question)
    times = dict(zip(curve["step"], curve["time"], strict=True))
    with store.read() as connection:
        known = dict(connection.execute(select(measurement.c.step, measurement.c.time)).all())
    assert times == pytest.approx(known)
