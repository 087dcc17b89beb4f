"""Counts that are kept by the transactions that change trials: exact, at one price, and nobody waits for anybody."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from reports import LEASE, lease, report
from sqlalchemy import event, text, update

from service.cli import doctor
from service.grid.expansion import expand
from service.states import TrialState
from service.store import cluster, control, experiments, fence, reports, submissions, tallies, versions
from service.store.models import tally, trial
from service.store.session import open_store


def _changes(store, public_id):
    with store.read() as connection:
        number = experiments.require(connection, public_id)
        return tallies.tallies(connection, [number])[number].changes


def _wrong(store):
    with store.read() as connection:
        return tallies.differences(connection)


def test_what_two_experiments_share_counts_for_each_and_once_for_all(store, tiny_grid):
    first = submissions.create_experiment(store, expand(tiny_grid())).id
    second = submissions.create_experiment(store, expand(tiny_grid(seeds=4))).id
    control.cancel_experiment(store, first)
    reports.record(store, report(lease(store), [0, 20], ends=True), LEASE)
    counts = [experiments.get_summary(store, one).counts for one in (first, second)]
    # eight trials of two weight decays by four seeds, all of one shape
    assert [one[TrialState.CANCELLED] for one in counts] == [6, 0]
    assert [one[TrialState.COMPLETED] for one in counts] == [0, 8]
    assert cluster.queue_state(store).counts[TrialState.COMPLETED] == 8
    control.delete_experiment(store, second)
    assert _wrong(store) == []
    assert cluster.queue_state(store).counts[TrialState.COMPLETED] == 6


def test_summaries_lists_and_versions_look_at_no_trial(store, expansion):
    made = submissions.create_experiment(store, expansion).id
    asked = []
    event.listen(store._reader, "before_cursor_execute", lambda _c, _k, statement, *_: asked.append(statement))
    assert experiments.get_summary(store, made).counts[TrialState.QUEUED] == 6
    assert experiments.list_experiments(store, limit=5, before=None)[0][0].counts[TrialState.QUEUED] == 6
    assert versions.version_of(store, [made], while_running=True)
    assert cluster.queue_counts(store)[TrialState.QUEUED] == 6
    assert asked and not any("FROM trial" in one or "JOIN trial" in one for one in asked)
    # the age of the queue is that of its first trial, which its index tells
    assert 0 <= cluster.queue_state(store).age_seconds < 60


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_trials_of_one_experiment_end_at_the_same_time_without_waiting_for_each_other(store, store_url, tiny_grid):
    made = submissions.create_experiment(store, expand(tiny_grid())).id
    ours, theirs = lease(store, lanes=3), lease(store, lanes=3)
    with open_store(store_url) as other, other.write() as connection:
        fence.hold(connection, [(one.trial_id, one.attempt) for one in ours])
        own = trial.c.id.in_([one.trial_id for one in ours])
        connection.execute(update(trial).where(own).values(state="failed", queued_for=None))
        # not committed yet
        reports.record(store, report(theirs, [0, 20], ends=True), LEASE)
        assert experiments.get_summary(store, made).counts[TrialState.COMPLETED] == 3
    counts = experiments.get_summary(store, made).counts
    assert (counts[TrialState.COMPLETED], counts[TrialState.FAILED]) == (3, 3)
    assert _wrong(store) == []


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("change", ["submit", "cancel", "retry"])
def test_a_trial_that_ends_while_its_links_change_is_counted_as_it_ended(store, store_url, tiny_grid, change):
    made = submissions.create_experiment(store, expand(tiny_grid())).id
    second = submissions.create_experiment(store, expand(tiny_grid())).id
    held = lease(store)
    if change == "retry":
        control.cancel_experiment(store, made)
    changes = {
        "submit": lambda: submissions.create_experiment(store, expand(tiny_grid(seeds=4))),
        "cancel": lambda: control.cancel_experiment(store, made),
        "retry": lambda: control.retry_experiment(store, made, "cancelled"),
    }
    with open_store(store_url) as other, ThreadPoolExecutor(1) as pool:
        with other.write() as connection:
            fence.hold(connection, [(one.trial_id, one.attempt) for one in held])
            connection.execute(update(trial).values(state="completed", last_step=20, queued_for=None))
            changing = pool.submit(changes[change])
            _until_somebody_waits(other)
        changing.result(30)
    assert _wrong(store) == []
    assert experiments.get_summary(store, second).counts[TrialState.COMPLETED] == 6


def _until_somebody_waits(store):
    """Until a transaction waits for a lock of another one."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with store.read() as connection:
            if connection.scalar(query):
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def test_the_number_of_changes_grows_with_all_that_changes_an_answer(store, expansion):
    made = submissions.create_experiment(store, expansion).id
    seen = [_changes(store, made)]
    lease(store)
    seen.append(_changes(store, made))
    control.pause_experiment(store, made)
    seen.append(_changes(store, made))
    control.resume_experiment(store, made)
    held = lease(store)
    seen.append(_changes(store, made))
    reports.record(store, report(held, [0, 20], ends=True), LEASE)
    seen.append(_changes(store, made))
    assert sorted(set(seen)) == seen
    # an experiment that links ended trials, and is cancelled, changes nothing of them
    control.cancel_experiment(store, submissions.create_experiment(store, expansion).id)
    assert _changes(store, made) == seen[-1]


def test_sums_that_are_wrong_are_found_and_mended_while_others_go_on(store, store_url, expansion):
    made = submissions.create_experiment(store, expansion).id
    with store.write() as connection:
        connection.execute(update(tally).where(tally.c.state == "queued").values(trials=tally.c.trials - 2, goal=7))
        connection.execute(text("DELETE FROM tally WHERE experiment_id = 0"))
    wrong = _wrong(store)
    assert {(one.experiment, one.state, one.name, one.kept, one.counted) for one in wrong} == {
        (0, "queued", "trials", 0, 6),
        (1, "queued", "trials", 4, 6),
        (1, "queued", "goal", 7, 120),
    }
    told = doctor._counts(store, repair=False)
    assert told.ok is False and "nfa doctor --repair" in told.words and "2 more" in told.words
    assert doctor._counts(store, repair=True).words.endswith("mended")
    assert _wrong(store) == []
    assert experiments.get_summary(store, made).counts[TrialState.QUEUED] == 6


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_rows_of_backends_that_are_gone_are_added_up_and_nothing_else_changes(store, store_url, expansion):
    made = submissions.create_experiment(store, expansion).id
    slots = text("SELECT DISTINCT slot FROM tally WHERE slot NOT IN (SELECT pid FROM pg_stat_activity)")
    for _ in range(3):
        with open_store(store_url) as other:
            control.pause_experiment(other, made)
            control.cancel_experiment(other, made)
            control.retry_experiment(other, made, "cancelled")
            with other.read() as connection:
                pid = connection.scalar(text("SELECT pg_backend_pid()"))
        for _ in range(200):
            with store.read() as connection:
                if connection.scalar(text("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}):
                    break
    counts, changes = experiments.get_summary(store, made).counts, _changes(store, made)
    with store.read() as connection:
        assert len(connection.scalars(slots).all()) >= 3
    assert tallies.fold(store) >= 3
    with store.read() as connection:
        assert connection.scalars(slots).all() == [0]
    assert (experiments.get_summary(store, made).counts, _changes(store, made)) == (counts, changes)
    assert _wrong(store) == []
    assert tallies.fold(store) == 0
