"""Tables that sort, and page where they are longer than the terminal."""

import io

import polars as pl
import pytest
from rich.console import Console
from rich.text import Text

from service.cli.exits import Stop
from service.cli.paging import pager_of, show, sorted_by, sorted_table

ROWS = [("b", 2), ("a", None), ("c", 1), ("d", 2)]
KEYS = {"name": lambda row: row[0], "count": lambda row: row[1]}


@pytest.mark.parametrize(
    ("sort", "names"), [(None, "bacd"), ("name", "abcd"), ("-name", "dcba"), ("count", "cbda"), ("-count", "bdca")]
)
def test_rows_sort_up_and_down_and_what_is_missing_is_last(sort, names):
    assert "".join(row[0] for row in sorted_by(ROWS, KEYS, sort)) == names


def test_a_column_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(Stop, match="name, count"):
        sorted_by(ROWS, KEYS, "-size")
    with pytest.raises(Stop, match=r"training\.weight_decay"):
        sorted_table(pl.DataFrame({"training.weight_decay": [1]}), "decay")


@pytest.mark.parametrize("sort", ["training.weight_decay", "weight_decay"])
def test_a_table_sorts_by_a_path_or_its_last_part(sort):
    found = pl.DataFrame({"training.weight_decay": [0.1, None, 0.0], "alignment_mean": [1, 2, 3]})
    assert sorted_table(found, sort)["alignment_mean"].to_list() == [3, 1, 2]
    assert sorted_table(found, f"-{sort}")["alignment_mean"].to_list() == [1, 3, 2]


@pytest.mark.parametrize(("lines", "is_paged"), [(3, False), (30, True)])
def test_what_is_longer_than_the_terminal_is_paged(capfd, monkeypatch, lines, is_paged):
    monkeypatch.setenv("PAGER", "sed s/^/paged-/")
    written = io.StringIO()
    show(Console(file=written, force_terminal=True, width=20, height=10), Text("\n".join("row" for _ in range(lines))))
    paged = capfd.readouterr().out
    assert paged.count("paged-row") == (lines if is_paged else 0)
    assert written.getvalue().count("row") == (0 if is_paged else lines)


def test_nothing_is_paged_where_nobody_reads_or_no_pager_is_wanted(capfd, monkeypatch):
    monkeypatch.setenv("PAGER", "sed s/^/paged-/")
    written = io.StringIO()
    show(Console(file=written, width=20, height=10), Text("row\n" * 30))
    assert written.getvalue().count("row") == 30 and capfd.readouterr().out == ""
    assert pager_of({"PAGER": ""}) == pager_of({"PAGER": "cat"}) == pager_of({"PAGER": "no-such-program"}) == []
    assert pager_of({"PAGER": "sed -n p"}) == ["sed", "-n", "p"]
