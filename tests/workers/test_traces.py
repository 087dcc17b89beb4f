"""A stack is told in the trace of each experiment that it trained for, as what became of it there."""

from types import SimpleNamespace

import pytest

from service.store.attempts import Place
from service.store.leases import Leased
from service.tracing.spans import ids_of
from workers.blocks import LaneEnd
from workers.running import Running
from workers.traces import stack_spans


def _running(*experiments, attempt=1):
    trials = [Leased(10 + lane, attempt, {}, lane, "a key", number) for lane, number in enumerate(experiments)]
    return Running(tuple(trials), Place("a host", "a node"), "gpu")


def _told(running, outcome="ended", error=None):
    return stack_spans("life", running, 100, 200, outcome, error)


def test_a_stack_of_two_experiments_is_a_span_in_each_of_their_traces():
    running = _running(3, 4, 3)
    running.sent(SimpleNamespace(ended=(LaneEnd(0, "completed", 9), LaneEnd(1, "diverged", 5))))
    first, second = _told(running)
    for span, number, trials in ((first, 3, 2), (second, 4, 1)):
        root = ids_of("life", number)
        assert (span.ids.trace, span.parent) == root and span.ids.span != root.span
        assert (span.began, span.ended, span.error) == (100, 200, None)
        assert (span.attributes["nfa.experiment"], span.attributes["nfa.trials"]) == (f"e{number}", trials)
        assert span.attributes["nfa.lanes"] == 3
        assert (span.attributes["nfa.host"], span.attributes["nfa.node"]) == ("a host", "a node")
        assert span.attributes["nfa.device"] == "gpu"
        assert span.attributes["nfa.lanes.completed"] == span.attributes["nfa.lanes.diverged"] == 1
    assert first.ids.span != second.ids.span


def test_ends_of_lanes_that_were_ours_no_more_are_not_told():
    running = _running(3, 3)
    running.open -= {0}
    running.sent(SimpleNamespace(ended=(LaneEnd(0, "completed", 9), LaneEnd(1, "completed", 9))))
    assert _told(running)[0].attributes["nfa.lanes.completed"] == 1


def test_every_attempt_is_a_span_of_its_own_and_the_same_one_whenever_it_is_told():
    spans = [_told(_running(3, attempt=attempt))[0].ids.span for attempt in (1, 2, 1)]
    assert spans[0] == spans[2] != spans[1]


@pytest.mark.parametrize(
    ("outcome", "error", "told"),
    [
        ("ended", None, None),
        ("released", None, None),
        ("failed", "it broke", "it broke"),
        ("failed", "", "failed"),
        ("lost", None, "what it measured could not be written"),
        ("interrupted", "its node is gone", "its node is gone"),
    ],
)
def test_only_what_went_wrong_is_an_error(outcome, error, told):
    (span,) = _told(_running(3), outcome, error)
    assert (span.error, span.attributes["nfa.outcome"]) == (told, outcome)
