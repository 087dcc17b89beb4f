"""How settings' values are written on pages and in figures."""

import polars as pl
import pytest

from service.web.figures.style import told
from service.web.page_route import _plain


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (None, "null"),
        (True, "true"),
        ("gd", "gd"),
        ([3, 2, 1.5], "3, 2, 1.5"),
        ([4, [16, 4], [16, 4, 16]], "4, [16, 4], [16, 4, 16]"),
        ((2, (3,)), "2, [3]"),
    ],
)
def test_a_list_among_values_is_told_from_its_neighbours(value, text):
    assert _plain(value) == text


def test_a_list_in_the_head_of_a_panel_has_no_comma_at_which_heads_are_parted():
    table = pl.DataFrame({"network.width": ["[16, 4]", "8"], "network.depth": [3, 2]})
    order = told(table, ["network.depth", "network.width"], "facet").order
    assert order == ["depth L = 2, width = 8", "depth L = 3, width = [16 4]"]
