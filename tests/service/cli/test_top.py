"""What `nfa top` shows."""

from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from service.cli.progress import bars
from service.cli.top import view
from service.schemas.cluster import ActivityBody, Cluster

AT = datetime(2026, 3, 1, tzinfo=UTC)


def _dispatcher(*, alive: bool) -> dict[str, Any]:
    stack = {"stack": "s7", "trials": 64, "experiments": ["e1", "e2"], "seconds": 12.0}
    facts = {"id": "d1", "host": "here", "pid": 1, "slots": 2, "alive": alive, "started_at": AT, "seen_at": AT}
    return facts | {"resources": {"stacks": [stack]}}


def _activity(**more: Any) -> ActivityBody:
    buckets = [{"began_at": AT, "ended": {}, "steps": 0}] * 10
    buckets += [{"began_at": AT, "ended": {"completed": 4}, "steps": 80}]
    buckets += [{"began_at": AT, "ended": {"completed": 6, "failed": 2}, "steps": 160}]
    queue = [{"owner": f"owner-{n}", "queued": 100 - n, "running": 3, "experiments": ["e1"] * 7} for n in range(12)]
    failures = [{"reason": "out of [memory]", "count": 2, "last_at": AT, "trial": "t9", "experiment": "e1"}]
    told = {"buckets": buckets, "queue": queue, "failures": failures, "per_hour": 12.0, "seconds_left": 360.0}
    return ActivityBody.model_validate(told | more)


def _shown(cluster: dict[str, Any], activity: ActivityBody, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(view(Cluster.model_validate(cluster), activity))
    return console.export_text()


def test_the_cluster_is_shown_on_one_screen_the_longest_queue_first():
    shown = _shown({"dispatchers": [_dispatcher(alive=True)], "queued": 100, "running": 36}, _activity())
    lines = shown.splitlines()
    assert lines[:2] == ["1 dispatcher, 2 trainers", "100 wait, 36 run; 6 min left"]
    assert "▄█ 12, 12 per hour, 2 failed" in lines[2]
    assert "owner-0" in shown and "owner-7" in shown and "owner-8" not in shown
    assert "s7" in shown and "out of [memory]" in shown and "t9 of e1" in shown and "and 2 more" in shown
    assert all(len(line) <= 80 for line in lines) and len(lines) <= 24


def test_a_cluster_without_dispatchers_says_what_to_start_and_shows_none_of_its_stacks():
    idle = _activity(queue=[], failures=[], seconds_left=None, per_hour=None)
    shown = _shown({"dispatchers": [_dispatcher(alive=False)], "queued": 5, "running": 0}, idle)
    assert "nfa up" in shown and "not known yet left" not in shown and "s7" not in shown


@pytest.mark.parametrize(
    ("counts", "drawn"), [([], ""), ([0, 0], "  "), ([0, 1, 8], " ▁█"), ([1, 1000], "▁█"), ([4, 8], "▄█")]
)
def test_bars_show_every_count_that_is_not_zero(counts, drawn):
    assert bars(counts) == drawn
