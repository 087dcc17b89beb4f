"""How often the client looks at a sweep that it waits for."""

import pytest

from service.client.waiting_calls import until_next_look


@pytest.mark.parametrize(
    ("waited", "poll_seconds", "pause"), [(0, 0.5, 0.5), (25, 0.5, 0.5), (100, 0.5, 2), (1e6, 0.5, 5), (1e6, 60, 60)]
)
def test_a_long_wait_looks_less_often_but_never_rarely(waited, poll_seconds, pause):
    assert until_next_look(waited, poll_seconds) == pause
