"""`training.stop`, held against what a grid measures."""

from typing import Any

import pytest

from service.errors import InvalidGrid
from service.questions.claimed_grids import read_claimed
from tests.service.computing import in_time


def grid(stop: Any, **sections: Any) -> dict[str, Any]:
    return {"trial": {"training": {"stop": stop}, "measure": {"layers": [1, 2], "every": 100}, **sections}}


@pytest.mark.parametrize(
    "stop",
    [
        {"when": "final.alignment >= 0.9"},
        {"when": "final.alignment[2] >= 0.9 and final.train_loss < 1 or seed == 3 and network.depth > 2"},
        {"plateau": {"metric": "train_loss", "over": 200, "change": 0}},
        {"plateau": {"metric": "alignment", "layer": 2, "over": 200, "change": 1e-6}, "at_least": 10.0},
        {"loss_below": 1},
    ],
)
def test_what_is_measured_may_stop_a_trial(stop: Any) -> None:
    (point,) = read_claimed(grid(stop)).expansion.points
    assert point.settings["training"]["stop"].keys() == stop.keys()


def test_a_grid_that_stops_by_its_loss_alone_has_the_form_that_it_had() -> None:
    (point,) = read_claimed(grid({"loss_below": 1})).expansion.points
    assert point.settings["training"]["stop"] == {"loss_below": 1.0}
    assert "stop" not in read_claimed({}).expansion.points[0].settings["training"]


def test_white_space_of_an_expression_is_no_difference() -> None:
    axes = {"training.stop.when": ["final.alignment > 0.9", " final.alignment  >  0.9 "]}
    assert len(read_claimed({"axes": axes}).expansion.points) == 1


@pytest.mark.parametrize(
    ("stop", "path", "told"),
    [
        ({}, "trial.training.stop", "give loss_below, when or plateau"),
        ({"at_least": 5}, "trial.training.stop", "give loss_below, when or plateau"),
        ({"when": "final.alignmnt > 0.9"}, "when", "did you mean final.alignment"),
        ({"when": "final.alignment >"}, "when", "expected a number or a word at column 18"),
        ({"when": "__import__('os')"}, "when", "unexpected character|unknown path|expected"),
        ({"when": "training.steps > 3"}, "when", "asks for no measured number"),
        ({"when": "state == completed and final.alignment > 0"}, "when", "asks for no measured number"),
        ({"when": "final.alignment[3] > 0.9"}, "when", "layer 3 is not measured"),
        ({"when": "final.sharpness > 1"}, "when", "sharpness is not measured: add it to measure.metrics"),
        ({"when": "final.alignment@0.3 > 1"}, "when", "is not measured"),
        ({"plateau": {"metric": "alignmnt", "over": 5, "change": 1}}, "plateau.metric", "is not measured"),
        ({"plateau": {"metric": "alignment", "layer": 9, "over": 5, "change": 1}}, "plateau.metric", "layer 9"),
        ({"plateau": {"metric": "alignment", "over": 0, "change": 1}}, "plateau.over", "greater"),
        ({"plateau": {"metric": "alignment", "over": 30_000, "change": 1}}, "plateau.over", "302 measured steps"),
        ({"plateau": {"metric": "alignment", "change": 1}}, "plateau.over", "is needed"),
    ],
)
def test_what_cannot_stop_a_trial_is_refused_with_the_place(stop: Any, path: str, told: str) -> None:
    with pytest.raises(InvalidGrid, match=told) as caught:
        read_claimed(grid(stop))
    assert any(path in one["path"] for one in caught.value.errors)


def test_a_flow_has_no_steps_to_wait_for() -> None:
    flow = {"optimizer": "gradient_flow"}
    for more in ({"at_least": 5}, {"plateau": {"metric": "train_loss", "over": 5, "change": 1}}):
        stop = {"when": "final.train_loss < 1", **more}
        with pytest.raises(InvalidGrid, match="gradient_flow has times and no steps"):
            read_claimed({"trial": {"training": flow | {"stop": stop}}})
    assert len(read_claimed({"trial": {"training": flow | {"stop": {"when": "final.train_loss < 1"}}}}).expansion) == 1


def test_a_grid_has_a_bounded_number_of_expressions() -> None:
    axes = {"training.stop.when": [f"final.alignment > 0.{number}" for number in range(1, 1_000)]}
    with pytest.raises(InvalidGrid, match="at most 200 different expressions"):
        read_claimed({"axes": axes})


LENGTHS = {"training.steps": {"linear": [9_000_000, 10_000_000, 10_001]}}


@pytest.mark.parametrize(
    ("measure", "over", "told"),
    [
        ({"points": 20_000, "spacing": "linear"}, 300, "more than 2,000,000 steps together"),
        ({"points": 1_000_000}, 300, "holds 301 measured steps"),
        ({"points": 1_000_000}, 100, None),
        ({"points": 200}, 1_000_000, None),
        ({"every": 1}, 200, None),
        ({"every": 1}, 300, "302 measured steps"),
    ],
)
def test_windows_of_many_lengths_are_looked_at_in_time(measure: Any, over: int, told: str | None) -> None:
    stop = {"plateau": {"metric": "alignment", "over": over, "change": 0.1}}
    written = {"trial": {"training": {"stop": stop}, "measure": measure}, "axes": LENGTHS}

    def answer() -> int | str:
        try:
            return len(read_claimed(written).expansion)
        except InvalidGrid as error:
            return error.detail

    answered = in_time(answer, 2.0)
    assert answered == 10_001 if told is None else told in str(answered)
