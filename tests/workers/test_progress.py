"""What stacks that were trained in part say of how long whole ones take."""

import pytest

from workers.progress import Done, left_seconds, plan_of, whole

STEPS, LANES, POINTS = 1_000, 8, 11
SECOND, ROW, START = 0.01, 0.002, 1.0
"""Of a lane's step, of a row, and of a stack before its first step."""


def _plan(start=-1, lasts=(STEPS,) * LANES):
    measure = {"spacing": "linear", "points": POINTS}
    return plan_of([{"measure": measure, "training": {"steps": last}} for last in lasts], start)


def _done(steps, rows, reached=None, *, is_early=False):
    training, measuring = SECOND * steps, ROW * rows
    return Done(START + training + measuring, training, measuring, steps, rows, reached or {}, is_early)


def _seconds(lanes):
    return START + lanes * (SECOND * STEPS + ROW * POINTS)


def test_a_stack_that_went_on_from_a_checkpoint_tells_what_one_from_the_beginning_takes():
    done = _done(LANES * 100, LANES, dict.fromkeys(range(LANES), STEPS))
    assert whole(_plan(start=900), done, is_last=True) == (LANES, pytest.approx(_seconds(LANES)))
    # half of what was left is done
    half = _done(LANES * 50, 0)
    assert left_seconds(_plan(start=900), half) == pytest.approx(SECOND * LANES * 50)


@pytest.mark.parametrize("is_last", [True, False])
def test_lanes_that_diverged_early_are_counted_for_as_long_as_they_ran(is_last):
    # six of eight at once, the others went on to the end
    gone, left = dict.fromkeys(range(6), 100), dict.fromkeys((6, 7), STEPS)
    done = _done(6 * 100 + 2 * STEPS, 6 * 2 + 2 * POINTS, gone | left if is_last else gone, is_early=True)
    told = whole(_plan(), done, is_last=is_last)
    assert told is not None and told.lanes == 3
    assert told.seconds == pytest.approx(_seconds(2.6), rel=0.05)
    assert left_seconds(_plan(), done) == pytest.approx(0.0, abs=0.2)


def test_a_stack_that_ended_early_as_a_whole_tells_what_all_its_steps_would_take():
    done = _done(LANES * 100, LANES * 2, dict.fromkeys(range(LANES), 100), is_early=True)
    assert whole(_plan(), done, is_last=True) == (LANES, pytest.approx(_seconds(LANES), rel=0.05))


def test_what_was_over_before_anything_could_be_told_says_nothing():
    done = _done(LANES, LANES, dict.fromkeys(range(LANES), 1), is_early=True)
    assert whole(_plan(), done, is_last=True) is None


def test_lanes_with_last_steps_of_their_own_are_as_many_as_they_were():
    lasts = (100,) * 4 + (STEPS,) * 4
    plan, done = _plan(lasts=lasts), _done(4 * 100 + 4 * STEPS, LANES * POINTS, dict(enumerate(lasts)))
    assert whole(plan, done, is_last=True) == (LANES, pytest.approx(done.elapsed))


def test_a_flow_is_told_by_one_that_came_to_its_end_alone():
    settings = [{"measure": {"points": POINTS}, "training": {}}] * 2
    done = _done(500, 2 * POINTS, {0: 10, 1: 10})
    assert whole(plan_of(settings, -1), done, is_last=True) == (2, done.elapsed)
    assert whole(plan_of(settings, 0), done, is_last=True) is None
    assert whole(plan_of(settings, -1), done._replace(is_early=True), is_last=True) is None
    assert left_seconds(plan_of(settings, -1), done) is None
