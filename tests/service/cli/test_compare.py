"""Experiments side by side, as a table."""

import polars as pl
import pytest
from typer.testing import CliRunner

from service.cli.compare import side_by_side
from service.cli.exits import Exit
from service.cli.main import app

FOUND = pl.DataFrame(
    {
        "experiment": ["e1", "e1", "e2", "e2"],
        "network.depth": [2, 3, 3, 4],
        "trials": [5, 5, 5, 5],
        "incomplete": [0, 0, 0, 1],
        "alignment_mean": [0.5, 0.6, 0.75, 0.9],
    }
)


def test_a_group_has_one_row_and_what_one_experiment_lacks_is_null():
    side = side_by_side(FOUND, ["e1", "e2"], "alignment_mean")
    assert side.common == 1
    assert side.values.rows() == [
        (2, 0.5, None, None),
        (3, 0.6, 0.75, pytest.approx(0.15)),
        (4, None, 0.9, None),
    ]
    assert side.values.columns == ["network.depth", "e1", "e2", "difference"]


def test_of_three_experiments_there_is_no_difference():
    assert side_by_side(FOUND, ["e1", "e2", "e3"], "alignment_mean").values.columns == [
        "network.depth",
        "e1",
        "e2",
        "e3",
    ]


def test_experiments_without_a_common_group_have_no_difference():
    apart = FOUND.filter(pl.col("network.depth") != 3)
    side = side_by_side(apart, ["e1", "e2"], "alignment_mean")
    assert side.common == 0 and "difference" not in side.values.columns


@pytest.mark.parametrize("words", [["e1"], ["e1", "e1"], [f"e{n}" for n in range(1, 10)]])
def test_fewer_than_two_or_more_than_eight_are_refused(words):
    ran = CliRunner().invoke(app, ["compare", *words])
    assert ran.exception is not None and getattr(ran.exception, "code", None) in (Exit.USAGE, 2)
