"""Answers that pages keep."""

from threading import Event

from service.web.kept import Kept


class Clock:
    """A time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_answer_about_what_has_ended_is_made_once_a_version():
    kept, made = Kept(), []
    for version in ("1", "1", "2"):
        kept.get("question", version, lambda v=version: made.append(v))
    assert made == ["1", "2"]


def test_the_answer_about_what_runs_is_kept_for_ten_times_its_cost():
    clock = Clock()
    kept, made = Kept(clock), []

    def slowly() -> int:
        clock.now += 1.0
        made.append(clock.now)
        return len(made)

    assert kept.get("question", None, slowly) == 1
    clock.now += 9.9
    assert kept.get("question", None, slowly) == 1
    clock.now += 0.2
    assert kept.get("question", None, slowly) == 2


def test_an_answer_is_made_anew_once_the_experiment_has_ended():
    kept = Kept()
    assert kept.get("question", None, lambda: "running") == "running"
    assert kept.get("question", "ended", lambda: "ended") == "ended"


def test_what_takes_longer_than_a_page_may_wait_is_there_at_a_later_look():
    kept, may_end = Kept(), Event()

    def slowly() -> str:
        assert may_end.wait(10)
        return "judged"

    assert kept.soon("question", "1", slowly, 0.0) is None
    may_end.set()
    assert kept.soon("question", "1", slowly, 10.0) == "judged"


def test_what_is_known_is_told_at_once_while_something_else_is_being_made():
    kept, may_end = Kept(), Event()
    kept.get("known", "1", lambda: "table")
    assert kept.soon("slow", "1", lambda: may_end.wait(10), 0.0) is None
    assert kept.soon("known", "1", lambda: "another table", 0.0) == "table"
    may_end.set()
