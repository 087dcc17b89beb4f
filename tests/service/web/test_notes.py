"""Notes are Markdown that can do nothing but be read."""

import pytest

from service.web.notes import rendered


def test_notes_are_rendered():
    page = rendered(
        "# What for\n\nto *see*\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[paper](https://arxiv.org/abs/1)"
    )
    for part in (
        "<h4>What for</h4>",
        "<em>see</em>",
        "<li>two</li>",
        "<td>2</td>",
        '<a href="https://arxiv.org/abs/1">',
    ):
        assert part in page


def test_lines_of_a_paragraph_are_one_text():
    assert rendered("without weight\ndecay it fails") == "<p>without weight\ndecay it fails</p>\n"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "![x](https://elsewhere.org/x.png)",
        "[x]: javascript:alert(1)\n\n[x]",
    ],
)
def test_nothing_in_notes_runs_or_is_loaded(text):
    page = rendered(text)
    for part in ("<script", "<img", 'javascript:alert(1)"', '"data:'):
        assert part not in page
