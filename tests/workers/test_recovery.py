"""What is decided after a failure."""

from hypothesis import given
from hypothesis import strategies as st

from workers.recovery import ALONE_CRASHES, after_failure, backoff_seconds


@given(size=st.integers(1, 64), culprit=st.integers(0, 63))
def test_a_culprit_is_alone_after_at_most_six_failures_and_no_neighbour_is_charged(size, culprit):
    culprit %= size
    lanes, failures = tuple(range(size)), 0
    while len(lanes) > 1:
        decision = after_failure(lanes, 0, is_final=False)
        failures += 1
        assert not decision.is_charged
        assert sorted(lane for part in decision.parts for lane in part) == list(lanes)
        (lanes,) = (part for part in decision.parts if culprit in part)
    assert failures <= 6
    assert lanes == (culprit,)


def test_a_trial_alone_is_charged_and_tried_three_times_in_all():
    assert ALONE_CRASHES == 3
    for before, tries_again in ((0, True), (1, True), (2, False)):
        decision = after_failure([5], before, is_final=False)
        assert decision.is_charged
        assert bool(decision.parts) is tries_again


def test_an_error_of_the_trial_itself_is_not_tried_again():
    assert after_failure([5], 0, is_final=True).parts == ()
    assert len(after_failure([5, 6], 0, is_final=True).parts) == 2


def test_pauses_double_up_to_a_minute():
    assert [backoff_seconds(n, jitter=1.0) for n in (0, 1, 2, 5, 6, 50)] == [1, 2, 4, 32, 60, 60]
    assert all(0.8 <= backoff_seconds(0) <= 1.2 for _ in range(50))
