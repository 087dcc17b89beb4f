"""Leases and the fence: who may write what, and when."""

import threading
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from reports import LEASE
from reports import lease as _lease
from reports import report as _report
from sqlalchemy import event, func, select, update

from service.grid.expansion import expand
from service.states import TrialState
from service.store import attempts, checkpoints, control, experiments, leases, reports, submissions, trials
from service.store.ids import trial_id
from service.store.measured_models import final, layer_measurement, measurement
from service.store.models import trial
from service.store.next_stack import Waiting
from service.store.reports import End, Report
from service.store.session import open_store


def _rows(store, table=measurement):
    with store.read() as connection:
        return connection.execute(select(table.c.trial_id, table.c.step).order_by(table.c.trial_id, table.c.step)).all()


def _expire(store):
    """Let every lease have run out."""
    with store.write() as connection:
        connection.execute(update(trial).where(trial.c.state == TrialState.RUNNING).values(lease_until=-1.0))


def test_a_lease_takes_the_head_of_the_queue_and_others_of_its_shape(store, expansion):
    submissions.create_experiment(store, expansion)
    seen = []
    leased = leases.lease_stack(store, "d1", lease_seconds=LEASE, choose=lambda s, waiting: seen.append(waiting) or 4)
    assert seen == [Waiting(6)]
    assert [one.attempt for one in leased] == [1, 1, 1, 1]
    assert [one.seed for one in leased] == [0, 1, 2, 0]
    assert len(_lease(store)) == 2
    assert _lease(store) == []


def test_what_waits_is_counted_no_further_than_it_makes_a_difference(store, expansion):
    submissions.create_experiment(store, expansion)
    seen, asked = [], []

    def enough(settings):
        asked.append(settings["network"]["depth"])
        return 4

    for lanes in (1, 4, 1):

        def choose(_settings, waiting, lanes=lanes):
            seen.append(waiting)
            return lanes

        leases.lease_stack(store, "d1", lease_seconds=LEASE, choose=choose, enough=enough)
    assert seen == [Waiting(4), Waiting(4), Waiting(1)]
    assert asked == [2] * 3


def test_what_waits_is_counted_by_stack_key(store, tiny_grid):
    from service.grid.expansion import expand

    widths = [*range(1, 71)]
    submissions.create_experiment(store, expand(tiny_grid(seeds=[1, 2], axes={"network.width": widths})))
    seen = []
    while leases.lease_stack(store, "d1", lease_seconds=LEASE, choose=lambda s, waiting: seen.append(waiting) or 2):
        pass
    assert seen == [Waiting(2, min(keys, 64)) for keys in range(70, 0, -1)]


def test_stacks_that_are_leased_together_are_those_whose_turn_it_is_and_one_that_crashed_is_leased_alone(
    store, tiny_grid
):
    grids = [tiny_grid(seeds=[1, 2], axes={"network.width": widths}) for widths in ([3, 4], [5, 6])]
    for grid in grids:
        submissions.create_experiment(store, expand(grid))

    def lease(**how):
        stacks = leases.lease_stacks(store, "d1", lease_seconds=LEASE, choose=lambda s, w: w.trials, **how)
        assert all(len({one.stack_key for one in stack}) == 1 for stack in stacks)
        return [{(one.settings["network"]["width"][0], one.attempt) for one in stack} for stack in stacks]

    [crashed] = leases.lease_stacks(store, "d1", lease_seconds=LEASE, choose=lambda s, w: w.trials)
    attempts_now = leases.restart(store, [one.held for one in crashed], LEASE, charge=False, error="it died")
    leases.release(store, list(attempts_now.items()))
    counted = []
    # the second experiment's turn has come, then the first one's, whose head has crashed
    assert lease(more=lambda stack: counted.append(len(stack)) or True) == [{(5, 1)}]
    assert counted == [2]
    assert lease(more=lambda stack: True) == [{(3, 3)}]
    assert lease(more=lambda stack: True) == [{(6, 1)}, {(4, 1)}]
    assert lease(more=lambda stack: True) == []


def test_higher_priority_is_leased_first_and_within_one_each_experiment_in_turn(store, tiny_grid):
    from service.grid.expansion import expand

    low = submissions.create_experiment(store, expand(tiny_grid(seeds=[1], axes={})))
    high = submissions.create_experiment(store, expand(tiny_grid(seeds=[2], axes={}, priority=5)))
    later = submissions.create_experiment(store, expand(tiny_grid(seeds=[3], axes={})))
    order = [_lease(store, lanes=1)[0].seed for _ in range(3)]
    assert order == [2, 1, 3], (low, high, later)


def test_four_dispatchers_never_get_the_same_trial(store, store_url, tiny_grid):
    from service.grid.expansion import expand

    submissions.create_experiment(store, expand(tiny_grid(seeds=200)))
    barrier, taken = threading.Barrier(4), []

    def work(name):
        with open_store(store_url) as own:
            barrier.wait()
            while leased := leases.lease_stack(own, name, lease_seconds=LEASE, choose=lambda s, waiting: 7):
                taken.extend(one.trial_id for one in leased)

    threads = [threading.Thread(target=work, args=(f"d{n}",)) for n in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(taken) == sorted(set(taken))
    assert len(taken) == 400


def test_a_report_writes_rows_and_ends_trials_in_one_go(store, expansion):
    created = submissions.create_experiment(store, expansion)
    leased = _lease(store)
    assert reports.record(store, _report(leased, [0, 10, 20], ends=True), LEASE) == frozenset()
    assert len(_rows(store)) == len(_rows(store, layer_measurement)) == 18
    one = trials.get_trial(store, trial_id(leased[0].trial_id))
    assert (one.row.state, one.row.last_step, one.row.provenance) == (TrialState.COMPLETED, 20, {"host": "h"})
    assert one.final["alignment"] == one.final["alignment[1]"] == 0.5
    assert experiments.get_experiment(store, created.id).state == "completed"


def test_a_later_report_of_the_same_attempt_adds_and_the_first_of_a_new_attempt_replaces(store, expansion):
    submissions.create_experiment(store, expansion)
    leased = _lease(store, lanes=1)
    reports.record(store, _report(leased, [0, 5]), LEASE)
    reports.record(store, _report(leased, [10], first=False), LEASE)
    assert [row.step for row in _rows(store)] == [0, 5, 10]
    _expire(store)
    assert leases.sweep(store) == 1
    (again,) = _lease(store, owner="d2", lanes=1)
    assert (again.trial_id, again.attempt) == (leased[0].trial_id, 2)
    reports.record(store, _report([again], [0, 20], ends=True), LEASE)
    assert [row.step for row in _rows(store)] == [0, 20]


@pytest.mark.parametrize("was_committed", [True, False])
def test_a_report_whose_commit_was_not_answered_is_sent_again_without_harm(store, expansion, was_committed):
    submissions.create_experiment(store, expansion)
    leased = _lease(store, lanes=1)
    reports.record(store, _report(leased, [0, 5]), LEASE)
    report = _report(leased, [10, 20], first=False)
    if was_committed:
        reports.record(store, report, LEASE)
    assert reports.record(store, replace(report, is_repeat=True), LEASE) == frozenset()
    assert [row.step for row in _rows(store)] == [0, 5, 10, 20]
    assert [row.step for row in _rows(store, layer_measurement)] == [0, 5, 10, 20]


def test_a_stale_attempt_can_neither_write_nor_finish_nor_prolong(store, expansion):
    submissions.create_experiment(store, expansion)
    stale = _lease(store, lanes=2)
    _expire(store)
    leases.sweep(store)
    fresh = _lease(store, owner="d2", lanes=2)
    reports.record(store, _report(fresh, [0], value=0.7), LEASE)
    pairs = [(one.trial_id, one.attempt) for one in stale]
    lost = frozenset(one.trial_id for one in stale)
    assert reports.record(store, _report(stale, [0, 20], ends=True, value=0.1), LEASE) == lost
    assert leases.renew(store, pairs, LEASE) == lost
    assert leases.restart(store, pairs, LEASE, charge=True, error="x") == {}
    leases.release(store, pairs)
    end = End(stale[0].trial_id, "failed", None, "x", {})
    assert reports.fail(store, stale[0].trial_id, stale[0].attempt, end) == {stale[0].trial_id}
    with store.read() as connection:
        assert (
            connection.execute(select(trial.c.state, trial.c.failures).where(trial.c.attempt > 0)).all()
            == [("running", 0)] * 2
        )
        assert set(connection.scalars(select(measurement.c.train_loss))) == {0.7}


def test_only_the_lost_lane_of_a_report_is_dropped(store, expansion):
    submissions.create_experiment(store, expansion)
    leased = _lease(store, lanes=3)
    with store.write() as connection:
        connection.execute(update(trial).where(trial.c.id == leased[1].trial_id).values(attempt=9))
    assert reports.record(store, _report(leased, [0, 20], ends=True), LEASE) == {leased[1].trial_id}
    assert {row.trial_id for row in _rows(store)} == {leased[0].trial_id, leased[2].trial_id}


def test_a_cancelled_trials_report_is_refused_and_its_earlier_rows_stay(store, expansion):
    created = submissions.create_experiment(store, expansion)
    leased = _lease(store)
    reports.record(store, _report(leased, [0]), LEASE)
    control.cancel_experiment(store, created.id)
    assert reports.record(store, _report(leased, [20], ends=True, first=False), LEASE) == {o.trial_id for o in leased}
    assert {row.step for row in _rows(store)} == {0}
    assert experiments.get_experiment(store, created.id).counts[TrialState.CANCELLED] == 6


def test_a_lease_that_runs_on_is_not_swept_and_one_from_another_boot_is(store, expansion):
    submissions.create_experiment(store, expansion)
    _lease(store, lanes=2)
    assert leases.sweep(store) == 0
    with store.write() as connection:
        connection.execute(update(trial).where(trial.c.state == TrialState.RUNNING).values(lease_clock="another"))
    assert leases.sweep(store) == 2


def test_restarting_raises_the_attempt_and_charges_only_when_told(store, expansion):
    submissions.create_experiment(store, expansion)
    pairs = [(one.trial_id, one.attempt) for one in _lease(store, lanes=2)]
    assert leases.restart(store, pairs, LEASE, charge=False, error="died") == {key: 2 for key, _ in pairs}
    charged = [(key, 2) for key, _ in pairs]
    assert leases.restart(store, charged, LEASE, charge=True, error="died") == {key: 3 for key, _ in pairs}
    with store.read() as connection:
        assert set(connection.scalars(select(trial.c.failures).where(trial.c.attempt == 3))) == {1}


def test_released_trials_wait_again_uncharged(store, expansion):
    submissions.create_experiment(store, expansion)
    leased = _lease(store)
    leases.release(store, [(one.trial_id, one.attempt) for one in leased])
    assert [one.attempt for one in _lease(store)] == [2] * 6


@pytest.mark.parametrize("steps", [1, 16, 17, 50, 67])
def test_a_block_of_any_size_is_stored_whole(store, expansion, steps):
    submissions.create_experiment(store, expansion)
    leased = _lease(store)
    assert reports.record(store, _report(leased, range(0, 10 * steps, 10)), LEASE) == frozenset()
    wanted = [(key, step) for key in sorted(one.trial_id for one in leased) for step in range(0, 10 * steps, 10)]
    assert _rows(store) == _rows(store, layer_measurement) == wanted
    with store.read() as connection:
        assert set(connection.scalars(select(layer_measurement.c.alignment))) == {0.5}


def test_nan_and_infinity_become_null(store, expansion):
    submissions.create_experiment(store, expansion)
    leased = _lease(store, lanes=3)
    report = _report(leased, [0], ends=True)
    odd = pa.array([np.nan, np.inf, -np.inf])
    network = report.network.set_column(3, "train_loss", odd)
    reports.record(store, Report(**{**vars(report), "network": network}), LEASE)
    with store.read() as connection:
        assert connection.scalars(select(measurement.c.train_loss)).all() == [None] * 3
        assert connection.scalars(select(final.c.train_loss)).all() == [None] * 3


@pytest.mark.parametrize(
    "statement", ["UPDATE attempt SET ended_at", "DELETE FROM checkpoint", "UPDATE trial SET state="]
)
def test_an_error_in_the_middle_of_a_report_leaves_nothing_of_it(store, expansion, statement):
    submissions.create_experiment(store, expansion)
    leased = _lease(store)

    def fail(_connection, _cursor, text, *_):
        if text.startswith(statement):
            raise ZeroDivisionError

    event.listen(store._writer, "before_cursor_execute", fail)
    with pytest.raises(ZeroDivisionError):
        reports.record(store, _report(leased, [0, 20], ends=True), LEASE)
    event.remove(store._writer, "before_cursor_execute", fail)
    assert _rows(store) == []
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(final)) == 0
        assert set(connection.scalars(select(trial.c.state))) == {"running"}
    assert reports.record(store, _report(leased, [0, 20], ends=True), LEASE) == frozenset()
    assert len(_rows(store)) == 12


def _crash(store, leased):
    """Restart a stack in halves, as a dispatcher does; the halves as (trial id, attempt)."""
    half = (len(leased) + 1) // 2
    parts = [part for part in (leased[:half], leased[half:]) if part]
    for part in parts:
        pairs = [(one.trial_id, one.attempt) for one in part]
        leases.restart(store, pairs, LEASE, charge=len(leased) == 1, error="died")


def _end_all(store, leased):
    reports.record(store, _report(leased, [0, 20], ends=True), LEASE)


def test_a_poison_trial_among_64_is_found_by_dispatchers_that_die_after_every_crash(store, tiny_grid):
    submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=64)))
    crashes, sizes, poison = 0, [], None
    while leased := _lease(store, owner=f"d{crashes}"):
        poison = leased[-1].trial_id if poison is None else poison
        if poison not in {one.trial_id for one in leased}:
            _end_all(store, leased)
            continue
        crashes += 1
        sizes.append((len(leased), next(one.failures for one in leased if one.trial_id == poison)))
        if len(leased) == 1 and leased[0].failures == 2:
            end = End(poison, "failed", None, "died", {})
            assert reports.fail(store, poison, leased[0].attempt, end) == frozenset()
            continue
        _crash(store, leased)
        _expire(store)
        leases.sweep(store)
    assert sizes == [(64, 0), (32, 0), (16, 0), (8, 0), (4, 0), (2, 0), (1, 0), (1, 1), (1, 2)]
    with store.read() as connection:
        ended = connection.execute(select(trial.c.id, trial.c.state, trial.c.failures)).all()
    assert {(row.state, row.failures) for row in ended if row.id != poison} == {("completed", 0)}
    assert [(row.state, row.failures) for row in ended if row.id == poison] == [("failed", 3)]


def test_a_lost_node_is_charged_to_nobody_and_leaves_stacks_as_large_as_they_were(store, expansion):
    submissions.create_experiment(store, expansion)
    leased = _lease(store)
    pairs = [(one.trial_id, one.attempt) for one in leased]
    assert set(leases.restart(store, pairs, LEASE, charge=False, error="the node died", lost=True).values()) == {2}
    leases.release(store, [(one.trial_id, 2) for one in leased])
    again = _lease(store)
    assert [(one.attempt, one.failures, one.interruptions) for one in again] == [(3, 0, 1)] * 6
    found = attempts.list_attempts(store, trial_id(leased[0].trial_id))
    assert [one.outcome for one in found] == ["interrupted", "released", None]


def test_a_trial_goes_on_from_its_checkpoint_and_loses_only_the_rows_beyond_it(store, expansion):
    submissions.create_experiment(store, expansion)
    leased = _lease(store)
    files = tuple((lane, 7, b"at %d" % lane) for lane in range(3))
    reports.record(store, replace(_report(leased, [0, 5]), checkpoints=files), LEASE)
    reports.record(store, _report(leased, [10], first=False), LEASE)
    _expire(store)
    leases.sweep(store)
    stacks = [_lease(store, owner="d2"), _lease(store, owner="d2")]
    assert [[one.checkpoint_step for one in stack] for stack in stacks] == [[7] * 3, [-1] * 3]
    resumed = stacks[0]
    saved = checkpoints.checkpoints_of(store, [one.trial_id for stack in stacks for one in stack])
    assert saved == {one.trial_id: b"at %d" % lane for lane, one in enumerate(resumed)}
    reports.record(store, replace(_report(leased, [15], first=False), checkpoints=((0, 15, b"stale"),)), LEASE)
    assert checkpoints.checkpoints_of(store, list(saved)) == saved
    reports.record(store, replace(_report(resumed, [10, 20], ends=True, value=0.7), resumed_step=7), LEASE)
    mine = [row.step for row in _rows(store) if row.trial_id == resumed[0].trial_id]
    assert mine == [0, 5, 10, 20]
    assert checkpoints.checkpoints_of(store, list(saved)) == {}
    with store.read() as connection:
        assert set(connection.scalars(select(trial.c.checkpoint_step))) == {-1}


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_leasing_walks_past_nothing_that_has_ended(store, tiny_grid):
    submissions.create_experiment(store, expand(tiny_grid(seeds=10_000)))
    with store.write() as connection:
        ended = {"state": TrialState.COMPLETED, "queued_for": None}
        # the planner is not told how few wait: statistics are from before
        connection.exec_driver_sql("ANALYZE trial")
        connection.execute(update(trial).where(trial.c.id <= 9_000).values(**ended))
    asked = []

    def note(_connection, cursor, statement, parameters, *_):
        if "trial.stack_key" in statement and "ORDER BY" in statement and "LIMIT" in statement:
            asked.append((statement, parameters))

    event.listen(store._bare, "before_cursor_execute", note)
    assert len(_lease(store, lanes=10)) == 10
    event.remove(store._bare, "before_cursor_execute", note)
    assert len(asked) >= 2
    with store.read() as connection:
        for statement, parameters in asked:
            plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))
            assert "pk_trial" not in plan, plan
