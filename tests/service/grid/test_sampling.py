"""Points that are drawn from ranges."""

from typing import Any

import numpy as np
import pytest

from service.errors import InvalidGrid
from service.grid.expansion import expand
from service.grid.extension import extended, redrawn
from service.grid.sampling import grouping
from service.grid.sobol import BITS, MOST_DIMENSIONS, random, sobol, unshifted
from service.questions.telling_apart import told_apart

RANGES: dict[str, Any] = {
    "training.learning_rate": {"log_uniform": [1e-3, 0.1]},
    "training.weight_decay": {"linear": [0, 0.1]},
    "network.depth": {"integers": [2, 5]},
    "network.width": {"log_uniform": [4, 64]},
    "network.activation": ["linear", "relu"],
}


def grid(count: int, method: str = "sobol", **more: Any) -> dict[str, Any]:
    return {"sample": {"count": count, "method": method, "ranges": RANGES}, **more}


def test_the_sequence_is_the_one_of_joe_and_kuo() -> None:
    qmc = pytest.importorskip("scipy.stats.qmc")
    wanted = qmc.Sobol(MOST_DIMENSIONS, scramble=False, bits=BITS).random(1 << 10)
    assert np.array_equal(unshifted(1 << 10, MOST_DIMENSIONS) / 2.0**BITS, wanted)


FIRST = {
    sobol: [0.5946781764549506, 0.8294284585814994],
    random: [0.7738044742510778, 0.7862181534099492],
}


@pytest.mark.parametrize("draw", [sobol, random])
def test_the_first_of_many_points_are_those_of_few_and_lie_inside(draw: Any) -> None:
    many, few = draw(4096, 7, 3), draw(200, 7, 3)
    assert np.array_equal(many[:200], few) and (many > 0).all() and (many < 1).all()
    assert not np.array_equal(draw(200, 7, 4), few)
    assert np.abs(many.mean(0) - 0.5).max() < 0.03
    # the points themselves, so that no release moves one
    assert few[1, :2].tolist() == FIRST[draw]


def test_every_interval_of_a_power_of_two_holds_one_point_of_each_dimension() -> None:
    drawn = sobol(256, 9, 5)
    assert all(len(np.unique(np.floor(column * 256))) == 256 for column in drawn.T)


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_drawn_points_lie_in_their_ranges_and_twice_as_many_begin_with_them(method: str) -> None:
    few, many = expand(grid(100, method)), expand(grid(200, method))
    assert [one for *_, one in many.trials()][: len(few)] == [one for *_, one in few.trials()]
    assert 95 <= len(few) <= 100 and list(few.axes) == list(RANGES)
    for point in many.points:
        drawn = point.axes
        assert 1e-3 <= drawn["training.learning_rate"] <= 0.1 and 0 <= drawn["training.weight_decay"] <= 0.1
        assert drawn["network.depth"] in (2, 3, 4, 5) and drawn["network.activation"] in ("linear", "relu")
        assert type(drawn["network.width"]) is int and 4 <= drawn["network.width"] <= 64
    assert {point.axes["network.depth"] for point in few.points} == {2, 3, 4, 5}
    rates = [point.axes["training.learning_rate"] for point in many.points]
    assert abs(np.median(np.log10(rates)) + 2) < 0.1


def test_drawn_points_make_a_product_with_axes_and_seeds_and_formulas_read_them() -> None:
    found = expand(
        {
            "trial": {"training": {"steps": "= round(1 / training.learning_rate)"}},
            "axes": {"network.depth": [1, 2]},
            "sample": {"count": 8, "ranges": {"training.learning_rate": {"log_uniform": [0.001, 0.1]}}},
            "seeds": 3,
        }
    )
    assert len(found) == 48
    rates = [point.axes["training.learning_rate"] for point in found.points]
    assert rates[:8] == rates[8:]
    steps = [point.settings["training"]["steps"] for point in found.points]
    assert steps == [round(1 / rate) for rate in rates]


@pytest.mark.parametrize(
    ("sample", "path", "told"),
    [
        ({"count": 0, "ranges": RANGES}, "sample.count", "greater than or equal to 1"),
        ({"count": 9, "method": "halton", "ranges": RANGES}, "sample.method", "sobol"),
        ({"count": 9}, "sample.ranges", "is needed"),
        ({"count": 9, "ranges": RANGES, "sed": 1}, "sample.sed", "seed"),
        ({"count": 9, "ranges": {"training.rate": [1]}}, "sample.ranges.training.rate", "unknown path"),
        ({"count": 9, "ranges": {"training": [1]}}, "sample.ranges.training", "is a mapping"),
        ({"count": 9, "ranges": {"data.noise": {"linear": [1, 1]}}}, "sample.ranges.data.noise", "less than"),
        ({"count": 9, "ranges": {"data.noise": {"log_uniform": [0, 1]}}}, "sample.ranges.data.noise", "positive"),
        ({"count": 9, "ranges": {"data.noise": {"linear": ["0", 1]}}}, "sample.ranges.data.noise", "no range"),
        ({"count": 9, "ranges": {"data.noise": {"log": [1, 2, 3]}}}, "sample.ranges.data.noise", "no range"),
        ({"count": 9, "ranges": {"data.noise": []}}, "sample.ranges.data.noise", "no range"),
        ({"count": 9, "ranges": {"data.samples": {"integers": [1.5, 2]}}}, "sample.ranges.data.samples", "whole"),
        ({"count": 9, "ranges": {"data.noise": {"linear": [-2, -1]}}}, "sample.ranges.data.noise[0]", "greater"),
        ({"count": 99_999, "ranges": RANGES | {"data.noise": [1]}}, "sample.count", "more than 500,000 numbers"),
    ],
)
def test_wrong_samples_are_refused_with_their_places(sample: Any, path: str, told: str) -> None:
    with pytest.raises(InvalidGrid) as caught:
        expand({"sample": sample})
    found = {one["path"]: str(one) for one in caught.value.errors}
    assert path in found and told in found[path]


def test_a_path_is_sampled_or_an_axis_but_not_both() -> None:
    with pytest.raises(InvalidGrid, match=r"network\.depth is varied by"):
        expand(grid(9, axes={"network.depth": [2]}))


def test_a_sample_is_extended_to_more_points_alone() -> None:
    before = grid(100)
    assert redrawn(before, 200) == grid(200)
    for document, count in ((before, 100), (before, 99), ({}, 5)):
        with pytest.raises(InvalidGrid, match=r"sampled points: give more|samples no points"):
            redrawn(document, count)
    with pytest.raises(InvalidGrid, match="is sampled: draw more points with sample"):
        extended(before, {"network.depth": [9]}, 0)


def test_what_is_drawn_makes_no_groups_where_nobody_asks() -> None:
    document = grid(9, axes={"init.scale": [1, 2]})
    axes = ["init.scale", *RANGES]
    assert grouping(axes, document) == ["init.scale"]
    told = told_apart(axes, document)
    assert (told.color, told.dash, told.facets) == ("init.scale", None, ())
    assert told_apart(axes, document, color="network.depth").color == "network.depth"
