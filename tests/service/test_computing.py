"""Limits of computing are limits: what takes longer is told, with what was taken and what is allowed."""

import pytest

from tests.service.computing import in_time


def test_what_computes_for_longer_than_it_may_is_told():
    times = []

    def answer() -> str:
        times.append(sum(range(3_000_000)))
        return "an answer"

    with pytest.raises(AssertionError, match=r"s of computing, allowed are 0.001; answered: an answer"):
        in_time(answer, 0.001)
    assert len(times) == 3
    assert in_time(answer, 60) == "an answer" and len(times) == 4
