"""The results table of a page: columns, order and shades from an address' choices."""

import pytest

from service.grid.value_order import ValueOrder
from service.web.result_tables import TableChoices, question_of, shown_table, table_choices

DEPTH, NAME = "network.depth", "network.activation"
FIGURE = {"metric": "alignment", "layer": 2, "where": "seed < 3"}
ORDER = ValueOrder(lambda: [{"axes": {NAME: ["tanh", "relu", "linear"]}}])


def _row(depth, name, mean, loss=1.0):
    return {DEPTH: depth, NAME: name, "alignment_mean": mean, "train_loss_mean": loss, "incomplete": 0}


ROWS = [_row(10, "relu", 0.5, 1e-8), _row(2, "tanh", None, 1.0), _row(9, "linear", 0.9, 1e-4), _row(2, "relu", 0.72, 0)]


def _table(most=100, metric="alignment", **chosen):
    choices = TableChoices(metric, agg="mean", **chosen)
    question = question_of([DEPTH, NAME], choices, FIGURE)
    return shown_table(ROWS, question, choices, ORDER, most)


def _column(table, place):
    return [row[place].value for row in table.rows]


@pytest.mark.parametrize(
    ("order", "place", "expected"),
    [
        (DEPTH, 0, [2, 2, 9, 10]),
        (f"-{DEPTH}", 0, [10, 9, 2, 2]),
        (NAME, 1, ["tanh", "relu", "relu", "linear"]),
        ("mean", 2, [0.5, 0.72, 0.9, None]),
        ("-mean", 2, [0.9, 0.72, 0.5, None]),
        ("", 2, [0.5, None, 0.9, 0.72]),
    ],
)
def test_a_column_sorts_by_size_or_as_written_and_what_has_no_value_is_last(order, place, expected):
    assert _column(_table(order=order), place) == expected


def test_a_head_sorts_upwards_then_downwards_then_not():
    orders, order = [], DEPTH
    for _ in range(3):
        orders.append(order)
        head = _table(order=order).columns[0]
        order = head.order
    assert orders == [DEPTH, f"-{DEPTH}", ""] and order == DEPTH


def test_hidden_columns_have_no_cells_and_can_be_shown_again():
    table = _table(hide=(NAME, "incomplete", "of another metric"))
    assert [one.title for one in table.seen] == ["depth", "mean"]
    assert {len(row) for row in table.rows} == {2}
    assert [one.title for one in table.columns if one.is_hidden] == ["activation", "incomplete"]


def test_shades_span_a_column_and_losses_are_shaded_by_their_logarithm():
    table = _table(metric="alignment,train_loss", shade=True)
    assert [one.title for one in table.seen][2:4] == ["alignment mean", "train_loss mean"]
    assert [row[2].shade for row in table.rows] == [0, None, 7, 4]
    assert [row[3].shade for row in table.rows] == [0, 7, 4, None]
    assert {row[place].shade for row in table.rows for place in (0, 1, 4)} == {None}


def test_rows_beyond_the_most_are_counted_after_sorting():
    table = _table(2, order="-mean")
    assert _column(table, 2) == [0.9, 0.72] and table.left_out == 2


def test_what_is_left_open_is_as_in_the_figure():
    question = question_of([DEPTH], TableChoices(), FIGURE)
    assert (question.metrics, question.layer, question.where) == (("alignment",), 2, "seed < 3")


def test_an_order_that_names_no_column_is_told_with_those_there_are():
    table = _table(order="-median")
    assert _column(table, 2) == [0.5, None, 0.9, 0.72]
    assert "no column median; there are network.depth, network.activation, mean, incomplete" in table.problem
    assert _table(order="-mean").problem == ""


def test_choices_are_written_as_they_were_read():
    asked = table_choices("train_loss", 2, "min", ["mean", "q05,count"], [DEPTH, "incomplete"], "-seed", shade=True)
    said = asked.as_query()
    assert said["agg"] == "mean,q05,count" and said["hide"] == f"{DEPTH},incomplete"
    again = table_choices(
        said["table_metric"],
        said["table_layer"],
        said["reduce"],
        [said["agg"]],
        [said["hide"]],
        said["order"],
        shade=True,
    )
    assert again == asked
    assert not any(TableChoices().as_query().values())
