"""What has lately been done and what waits, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from reports import lease
from sqlalchemy import update

from service.grid.expansion import expand
from service.states import TrialState
from service.store import activity as of_activity
from service.store import control, submissions
from service.store.activity import activity, reason_of
from service.store.models import trial

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def _ended(store, number, state, minutes_ago, *, minutes=1.0, step=20, error=None):
    ended = NOW - timedelta(minutes=minutes_ago)
    values = {"state": state, "ended_at": ended, "started_at": ended - timedelta(minutes=minutes)}
    with store.write() as connection:
        more = {"last_step": step, "error": error, "queued_for": None}
        connection.execute(update(trial).where(trial.c.id == number).values(**values, **more))


def test_nothing_is_told_of_a_service_that_has_done_nothing(store):
    found = activity(store, NOW)
    assert (found.queue, found.failures, found.per_hour, found.seconds_left) == ([], [], None, 0.0)
    assert [one.began_at for one in found.buckets][::11] == [NOW - timedelta(hours=1), NOW - timedelta(minutes=5)]


def test_the_last_hour_is_told_by_five_minutes_and_what_is_open_by_its_rate(store, expansion):
    made = submissions.create_experiment(store, expansion, owner="anna")
    _ended(store, 1, TrialState.COMPLETED, 61)
    _ended(store, 2, TrialState.COMPLETED, 59, minutes=1)
    _ended(store, 3, TrialState.DIVERGED, 1, step=7)
    _ended(store, 4, TrialState.FAILED, 0.5, error="out of memory\nmore")
    found = activity(store, NOW)
    assert [sum(one.ended.values()) for one in found.buckets] == [1, *[0] * 10, 2]
    assert found.buckets[-1].ended == {TrialState.DIVERGED: 1, TrialState.FAILED: 1}
    assert [one.steps for one in found.buckets] == [20, *[0] * 10, 27]
    assert found.per_hour == pytest.approx(3)
    # two trials are left, of three in an hour
    assert found.seconds_left == pytest.approx(2400)
    assert [(one.owner, one.queued, one.running, one.experiments) for one in found.queue] == [("anna", 2, 0, [made.id])]


def test_a_rate_counts_from_where_work_began(store, expansion):
    submissions.create_experiment(store, expansion, owner="anna")
    _ended(store, 1, TrialState.COMPLETED, 1, minutes=5)
    assert activity(store, NOW).per_hour == pytest.approx(10)


@pytest.mark.parametrize("counted", [20_000, 3], ids=["few", "many"])
def test_the_queue_is_told_by_owner_the_longest_first(store, expansion, tiny_grid, monkeypatch, counted):
    monkeypatch.setattr(of_activity, "COUNTED", counted)
    paused = submissions.create_experiment(store, expand(tiny_grid(seeds=[99])), owner="carl").id
    control.pause_experiment(store, paused)
    submissions.create_experiment(store, expansion, owner="anna")
    other = submissions.create_experiment(
        store, expand(tiny_grid(axes={"training.weight_decay": [0.3]}, seeds=9)), owner="ben"
    )
    leased = lease(store, lanes=4)
    found = {one.owner: (one.queued, one.running) for one in activity(store).queue}
    assert list(found) == ["ben", "anna"] and sum(map(sum, found.values())) == 15
    assert sum(running for _, running in found.values()) == len(leased) == 4
    assert activity(store).queue[0].experiments == [other.id]


def test_failures_are_told_by_reason_within_a_day(store, expansion):
    made = submissions.create_experiment(store, expansion, owner="anna")
    _ended(store, 1, TrialState.FAILED, 90, error="out of memory\nstack 7")
    _ended(store, 2, TrialState.FAILED, 60, error="out of memory\nstack 9")
    _ended(store, 3, TrialState.FAILED, 30, error=None)
    _ended(store, 4, TrialState.FAILED, 25 * 60, error="long ago")
    told = [(one.reason, one.count, one.trial, one.experiment) for one in activity(store, NOW).failures]
    assert told == [("out of memory", 2, "t2", made.id), ("no reason was recorded", 1, "t3", made.id)]


def test_a_reason_is_the_first_line_and_no_page_long():
    assert reason_of("  \nfirst\nsecond") == "first"
    assert len(reason_of("x" * 5000)) == 200
