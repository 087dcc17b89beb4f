"""Leases of a dispatcher: one row, whatever it holds."""

import pytest
from reports import lease as _lease
from reports import report as _report
from sqlalchemy import select, update

from service.grid.expansion import expand
from service.store import control, leases, reports, session, submissions
from service.store.models import attempt, holder, taken_trial, trial

LEASE = 30.0


def _pairs(leased):
    return [(one.trial_id, one.attempt) for one in leased]


def _run_out(store, owner):
    with store.write() as connection:
        connection.execute(update(holder).where(holder.c.owner == owner).values(until=holder.c.until - LEASE - 1))


def _until(store, owner="d1"):
    with store.read() as connection:
        return connection.scalar(select(holder.c.until).where(holder.c.owner == owner))


def test_all_that_a_dispatcher_holds_runs_out_together_and_nothing_of_another(store, expansion):
    submissions.create_experiment(store, expansion)
    mine, other = [*_lease(store, lanes=2), *_lease(store, lanes=2)], _lease(store, owner="d2", lanes=2)
    _run_out(store, "d1")
    assert leases.sweep(store) == len(mine) == 4
    assert leases.renew(store, _pairs(other), LEASE) == frozenset()
    assert leases.renew(store, _pairs(mine), LEASE) == {one.trial_id for one in mine}


def test_renewing_touches_no_trial(store, expansion):
    submissions.create_experiment(store, expansion)
    _lease(store)
    _run_out(store, "d1")
    where = "xmin" if store.dialect == "postgresql" else "lease_until"

    def rows():
        with store.read() as connection:
            return connection.exec_driver_sql(f"SELECT id, CAST({where} AS TEXT) FROM trial ORDER BY id").all()

    before = rows()
    assert leases.renew_all(store, "d1", LEASE) == leases.Renewed(frozenset(), True)
    assert rows() == before
    assert _until(store) > 0
    assert leases.sweep(store) == 0


def test_a_report_renews_once_less_than_half_is_left(store, expansion):
    submissions.create_experiment(store, expansion)
    leased, until = _lease(store), _until(store)
    reports.record(store, _report(leased, [0]), LEASE)
    assert _until(store) == until
    _run_out(store, "d1")
    reports.record(store, _report(leased, [10], first=False), LEASE)
    assert _until(store) >= until
    assert leases.sweep(store) == 0


def test_a_holder_is_told_once_what_was_taken_from_it(store, tiny_grid):
    made = [submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=[seed]))) for seed in range(4)]
    (cancelled,), (paused,), (deleted,), (kept,) = (_lease(store, lanes=1) for _ in made)
    control.cancel_experiment(store, made[0].id)
    control.pause_experiment(store, made[1].id)
    control.delete_experiment(store, made[2].id)
    assert leases.renew_all(store, "d1", LEASE).taken == set(_pairs([cancelled, paused, deleted]))
    assert leases.renew_all(store, "d1", LEASE).taken == frozenset()
    assert leases.renew(store, _pairs([kept]), LEASE) == frozenset()


def test_a_holder_that_slept_past_its_lease_is_told_of_the_sweep_though_it_has_leased_again(store, expansion):
    submissions.create_experiment(store, expansion)
    before = _lease(store, lanes=3)
    _run_out(store, "d1")
    assert leases.sweep(store) == 3
    again = _lease(store, lanes=3)
    assert {one.attempt for one in again} == {2}
    assert leases.renew_all(store, "d1", LEASE) == leases.Renewed(frozenset(_pairs(before)), True)
    assert leases.renew(store, _pairs(again), LEASE) == frozenset()


def test_what_its_own_calls_ended_is_not_told(store, expansion):
    submissions.create_experiment(store, expansion)
    leased = _lease(store)
    restarted = leases.restart(store, _pairs(leased[:2]), LEASE, charge=False, error="died")
    leases.release(store, _pairs(leased[2:3]))
    reports.record(store, _report(leased[3:], [0, 20], ends=True), LEASE)
    assert leases.renew_all(store, "d1", LEASE).taken == frozenset()
    assert set(restarted.values()) == {2}


def test_a_holder_that_is_not_known_any_more_is_told_so(store, expansion):
    submissions.create_experiment(store, expansion)
    leased = _lease(store, lanes=2)
    with store.write() as connection:
        connection.execute(update(holder).values(until=holder.c.until - 2 * 3600))
    assert leases.sweep(store) == 2
    with store.read() as connection:
        assert connection.execute(select(holder)).all() == connection.execute(select(taken_trial)).all() == []
    assert not leases.renew_all(store, "d1", LEASE).is_known
    assert leases.reconcile(store, "d1", _pairs(leased)) == set(_pairs(leased))


def test_a_lease_whose_answer_was_lost_goes_back_to_the_queue(store, expansion):
    submissions.create_experiment(store, expansion)
    known, lost = _lease(store, lanes=2), _lease(store, lanes=3)
    ended = _lease(store, lanes=1)
    reports.record(store, _report(ended, [0, 20], ends=True), LEASE)
    assert leases.reconcile(store, "d1", _pairs([*known, *ended])) == set(_pairs(ended))
    assert {one.attempt for one in _lease(store)} == {2}
    assert leases.renew(store, _pairs(lost), LEASE) == {one.trial_id for one in lost}
    assert leases.renew(store, _pairs(known), LEASE) == frozenset()


def test_leases_of_an_older_version_run_out_by_their_own_time(store, expansion):
    submissions.create_experiment(store, expansion)
    leased = _lease(store, owner="old", lanes=2)
    with store.write() as connection:
        now, _ = session.lease_clock(connection)
        connection.execute(holder.delete())
        connection.execute(update(trial).where(trial.c.owner == "old").values(lease_until=now + LEASE))
    assert leases.sweep(store) == 0
    with store.write() as connection:
        connection.execute(
            update(trial).where(trial.c.id == leased[0].trial_id).values(lease_until=now - 1.0, lease_clock="another")
        )
    assert leases.sweep(store) == 1


def test_blocks_recorded_together_are_all_there_but_for_what_was_taken(store, expansion):
    submissions.create_experiment(store, expansion)
    first, second = _lease(store, lanes=3), _lease(store, lanes=3)
    with store.write() as connection:
        connection.execute(update(trial).where(trial.c.id == second[1].trial_id).values(attempt=9))
    gone = reports.record_all(
        store, [_report(first, [0, 10]), _report(second, [0]), _report(first, [20], ends=True, first=False)], LEASE
    )
    assert gone == [frozenset(), {second[1].trial_id}, frozenset()]
    with store.read() as connection:
        states = {row.id: row.state for row in connection.execute(select(trial.c.id, trial.c.state))}
        open_ones = set(connection.scalars(select(attempt.c.trial_id).where(attempt.c.ended_at.is_(None))))
    assert {states[one.trial_id] for one in first} == {"completed"}
    assert open_ones == {one.trial_id for one in second}


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_sweep_waits_for_nobody_who_renews_at_this_moment(store, expansion):
    submissions.create_experiment(store, expansion)
    _lease(store, lanes=2)
    _run_out(store, "d1")
    with store.write() as renewing:
        renewing.execute(update(holder).values(until=1e12))
        assert leases.sweep(store) == 0
    assert leases.sweep(store) == 0
