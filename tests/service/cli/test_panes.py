"""What stands below the bar of a watched experiment."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from rich.console import Console

from service.cli.panes import Curve, Look, curves_of, drawn, told_apart
from service.cli.progress import ExperimentProgress
from service.schemas.experiments import ExperimentDetail
from service.schemas.trials import TrialBody

AT = datetime(2026, 3, 1, tzinfo=UTC)


def _failed(number: int, error: str | None) -> TrialBody:
    facts: dict[str, Any] = {"id": f"t{number}", "fingerprint": "", "state": "failed", "settings": {}, "layers": {}}
    facts |= {"seed": 0, "attempt": 1, "failures": 1, "error": error, "last_step": None, "final": {}}
    return TrialBody(
        **facts, provenance=None, created_at=AT, started_at=AT, ended_at=AT + timedelta(seconds=number % 7)
    )


def _experiment(**counts: int) -> ExperimentDetail:
    facts: dict[str, Any] = {"id": "e1", "name": "n", "owner": "o", "state": "running", "tags": [], "notes": ""}
    facts |= {"priority": 0, "axes": [], "created_at": AT, "counts": counts, "progress": 0.5, "eta_seconds": None}
    return ExperimentDetail(**facts, grid={}, steps={"done": 50, "left": 50})


def _shown(what: Any, width: int = 60) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(what)
    return console.export_text()


def test_axes_are_told_apart_as_long_as_their_groups_fit_into_a_pane():
    grid = {"axes": {"a": [1, 2, 3], "b": [1, 2, 3, 4, 5], "c": [1, 2]}}
    assert told_apart(grid, ["a", "b", "c"]) == ["a", "c"]
    # what is zipped or included has no list of its own
    assert told_apart(grid, ["d", "b"]) == ["b"]
    assert told_apart({}, []) == []


def test_a_curve_is_the_medians_of_a_group_under_its_short_settings():
    table = pl.DataFrame({"network.depth": [2, 2, 3], "step": [0, 5, 0], "alignment_median": [0.1, 0.5, None]})
    assert curves_of(table, ["network.depth"]) == [Curve("depth 2", [0.1, 0.5])]
    assert curves_of(table.drop("network.depth"), []) == [Curve("all trials", [0.1, 0.5])]
    assert curves_of(pl.DataFrame(), ["network.depth"]) == []


def test_panes_show_curves_and_the_latest_failures_within_the_width():
    failures = [_failed(number, f"reason {number} [x]\nmore") for number in range(1, 7)] + [_failed(7, None)]
    shown = _shown(drawn(Look([Curve("depth 2", [0.0, 0.5, 0.9876])], failures, 40)))
    assert "depth 2" in shown and "▁▅█" in shown and "0.9876" in shown
    # t7 ended first of all
    assert "40 failed" in shown and "reason 6 [x]" in shown and "reason 1" not in shown and "t7" not in shown
    assert shown.index("reason 6") < shown.index("reason 5") and "more" not in shown
    assert all(len(line) <= 60 for line in shown.splitlines())
    assert "failed" not in _shown(drawn(Look([], [], 0)))


def test_a_terminal_shows_panes_below_the_bar_and_lines_are_plain_elsewhere():
    looked = []

    def look(experiment):
        looked.append(experiment.id)
        return "a pane"

    terminal = Console(width=100, force_terminal=True, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with ExperimentProgress(terminal, look) as progress:
        progress.show(_experiment(running=1, failed=2))
        progress.show(_experiment(running=1, failed=2))
    shown = terminal.export_text()
    assert "a pane" in shown and "1 running, 2 failed" in shown
    # the second look came too soon
    assert looked == ["e1"]
    lines = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with ExperimentProgress(lines, look) as progress:
        progress.show(_experiment(running=1, failed=2))
    assert lines.export_text() == "running  50%  2/3 trials\n" and looked == ["e1"]
