"""A trainer may be silent for as long as its stack's step may take, and no longer, though it answers pings."""

import time

from workers.pool import Pool, Seat


def _seat(silent, allowed):
    seat = Seat(None, None, "cpu", stream=object(), allowed_seconds=allowed)
    seat.heard = time.monotonic() - silent
    return seat


def test_only_who_was_silent_past_all_it_may_is_ended_unasked():
    pool = Pool(2.0, 60.0, step_deadline=60.0)
    late, in_time, idle = _seat(700, 600), _seat(50, 60), _seat(5_000, 60)
    idle.stream = None
    pool.seats = [late, in_time, idle]
    assert pool.overdue() == [late]


def test_no_deadline_ends_a_trainer_before_the_one_for_pings():
    pool = Pool(2.0, 60.0, step_deadline=60.0)
    pool.seats = [_seat(30, 1)]
    assert pool.overdue() == []
