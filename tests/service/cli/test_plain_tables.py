"""Tables of the command line are as wide as the terminal, with their numbers whole."""

import polars as pl
import pytest
from rich.console import Console

from service.cli.display import results_table
from service.cli.plain_tables import PlainTable, need_of, widths_of

TITLES = [
    "scale",
    "weight decay",
    "trials",
    *(f"{m} {a}" for m in ("alignment", "best exponent") for a in ("mean", "min")),
]
ROW = ["0.5", "0.1", "3", "0.867762", "1-1.1e-16", "0.445221", "0.356804"]


def _lines(width: int, rows: list[list[str]] | None = None) -> list[str]:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(PlainTable(dict.fromkeys(TITLES, "right"), [ROW] if rows is None else rows))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [58, 66, 80, 200])
def test_a_number_is_never_broken(width):
    lines = _lines(width)
    assert lines[-1].split() == ROW and max(map(len, lines)) <= width


def test_titles_break_between_words_where_there_is_room_for_words_and_nowhere_where_there_is_for_more():
    words = {word for title in TITLES for word in title.split()}
    assert {word for line in _lines(66)[:-1] for word in line.split()} == words
    assert len(_lines(200)) == 2


def test_text_shrinks_before_numbers_do_and_long_words_break():
    text = need_of("id", ["a" * 64], is_text=True)
    worst = need_of("worst", ["0.25 (network.depth = 3)"], is_text=False)
    assert text.least == 12 and worst.least == len("(network.depth")
    assert widths_of([text, worst], 40)[0] == [14, 24]
    assert widths_of([worst] * 4, 40)[0] == [None] * 4
    assert widths_of([], 80) == ([], 2)


def test_a_table_without_rows_is_its_titles():
    assert "weight" in " ".join(_lines(80, []))


def test_settings_are_titled_by_their_last_part_and_metrics_by_their_whole_name():
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(results_table(pl.DataFrame({"training.layers.1.learning_rate": [0.1], "alignment@0.3_mean": [0.5]})))
    assert console.export_text().splitlines()[0].split("  ") == ["learning rate", "alignment@0.3 mean"]
