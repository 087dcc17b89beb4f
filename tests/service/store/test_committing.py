"""Blocks are written by a thread of their own, in order, and without gaps."""

import contextlib
import threading
from dataclasses import replace

import pytest
from reports import report as report_of
from sqlalchemy import event, func, select

from service.errors import StoreUnavailable
from service.grid.expansion import expand
from service.store import leases, submissions
from service.store.measured_models import measurement
from service.store.models import trial
from workers.blocks import Block, LaneEnd
from workers.committing import MOST_TOGETHER, Committer
from workers.running import Running

LEASE = 30.0


@pytest.fixture
def stacks(store, tiny_grid):
    """Two running stacks of three trials."""
    submissions.create_experiment(store, expand(tiny_grid()))

    def take():
        return leases.lease_stack(store, "d", lease_seconds=LEASE, choose=lambda settings, waiting: 3)

    return [Running(tuple(take())) for _ in range(2)]


@contextlib.contextmanager
def _away(store):
    """A store that does not answer; the event is set once it was asked."""
    asked = threading.Event()

    def fail(*_):
        asked.set()
        raise StoreUnavailable("away")

    event.listen(store._writer, "before_cursor_execute", fail)
    try:
        yield asked
    finally:
        event.remove(store._writer, "before_cursor_execute", fail)


def _send(commits, running, step, *, ends=False):
    made = report_of(running.trials, [step], ends=ends, first=running.is_first)
    made = replace(made, open=frozenset(running.open))
    ended = tuple(LaneEnd(lane, "completed", step) for lane in sorted(running.open)) if ends else ()
    block = Block(made.network, made.layers, made.parametrised, ended, 1, 0.1, 0.1, last=ends)
    commits.send(running, block, made)
    running.sent(block)


def _steps(store):
    with store.read() as connection:
        query = select(measurement.c.trial_id, measurement.c.step).order_by(measurement.c.trial_id, measurement.c.step)
        found = {}
        for row in connection.execute(query):
            found.setdefault(row.trial_id, []).append(row.step)
        return found


def test_what_is_sent_is_written_and_told_in_its_order(store, stacks):
    commits = Committer(store, LEASE)
    for step in range(MOST_TOGETHER):
        for running in stacks:
            _send(commits, running, step)
    for running in stacks:
        _send(commits, running, MOST_TOGETHER, ends=True)
    assert not stacks[0].open
    assert all(commits.wait(60.0, running) for running in stacks)
    told = commits.done()
    assert [sent.running for sent in told] == stacks * (MOST_TOGETHER + 1)
    assert not any(sent.gone or sent.is_lost for sent in told)
    assert commits.held() == []
    commits.close(10.0)
    assert set(map(tuple, _steps(store).values())) == {tuple(range(MOST_TOGETHER + 1))}
    with store.read() as connection:
        assert set(connection.scalars(select(trial.c.state))) == {"completed"}


def test_what_was_taken_is_told_and_not_written(store, stacks):
    commits = Committer(store, LEASE)
    lost = stacks[0].trials[1]
    leases.release(store, [lost.held])
    _send(commits, stacks[0], 0)
    assert commits.wait(60.0, stacks[0])
    assert [sent.gone for sent in commits.done()] == [{lost.held}]
    assert lost.trial_id not in _steps(store)
    commits.close(10.0)


def test_after_a_block_that_could_not_be_written_nothing_of_its_stack_is(store, stacks):
    commits = Committer(store, lease_seconds=0.1)
    with _away(store):
        _send(commits, stacks[0], 0)
        assert commits.wait(60.0, stacks[0])
    _send(commits, stacks[0], 1)
    _send(commits, stacks[1], 0)
    assert all(commits.wait(60.0, running) for running in stacks)
    told = commits.done()
    assert [sent.is_lost for sent in told] == [True, True, False]
    assert told[0].gone == told[1].gone == set(stacks[0].held)
    assert set(_steps(store)) == {one.trial_id for one in stacks[1].trials}
    commits.close(10.0)
    # they are queued again by whoever compares
    believed = stacks[1].held
    assert leases.reconcile(store, "d", believed) == frozenset()
    again = leases.lease_stack(store, "d", lease_seconds=LEASE, choose=lambda settings, waiting: 3)
    assert {one.trial_id for one in again} == {one.trial_id for one in stacks[0].trials}


def test_a_store_that_is_back_in_time_costs_nothing(store, stacks):
    commits = Committer(store, LEASE)
    with _away(store) as asked:
        _send(commits, stacks[0], 0)
        assert asked.wait(60.0)
        assert set(commits.held()) == set(stacks[0].held)
    assert commits.wait(60.0, stacks[0])
    assert not any(sent.is_lost for sent in commits.done())
    commits.close(10.0)
    assert _steps(store) == {one.trial_id: [0] for one in stacks[0].trials}


def test_closing_does_not_wait_for_a_store_that_is_away(store, stacks):
    commits = Committer(store, LEASE)
    with _away(store) as asked:
        _send(commits, stacks[0], 0)
        assert asked.wait(60.0)
        commits.close(60.0)
        (sent,) = commits.done()
    assert sent.is_lost


def test_a_defect_of_the_thread_is_raised_to_whoever_asks(store, stacks):
    commits = Committer(store, LEASE)
    _send(commits, stacks[0], 0)
    stacks[0].is_first = False
    _send(commits, stacks[0], 0)
    assert commits.wait(60.0)
    with pytest.raises(Exception, match=r"(?i)unique"):
        while commits.wait(60.0, stacks[0]):
            commits.done()
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(measurement)) in (0, 3)
