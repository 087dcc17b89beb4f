"""Figures in a journal's size, and the numbers beside them."""

import re

import polars as pl
import pytest

from service.cli.exits import Stop
from service.cli.plot import Numbers, _written
from service.web import figures
from service.web.figures.curves import CurveLook
from service.web.figures.journal import JOURNALS, caption, fitted, room_of, save_fitted
from service.web.figures.numbers import write_numbers

DECAY, DEPTH = "training.weight_decay", "network.depth"
ROWS = [
    {DECAY: decay, DEPTH: depth, "step": step, "time": step / 10, "alignment_median": 0.5 + decay + step / 100}
    | {"alignment_min": 0.4 + decay, "alignment_max": 0.7 + decay, "alignment_count": 3}
    for decay in (0.0, 0.1)
    for depth in (2, 3, 4)
    for step in range(5)
]


def _chart(room=0, **look):
    return figures.metric_curves(pl.DataFrame(ROWS), "alignment", CurveLook(DECAY, DEPTH, room=room, **look))


@pytest.mark.parametrize(("name", "is_wide"), [("aistats", False), ("icml", True), ("nature", False)])
def test_a_figure_is_as_wide_as_its_column_with_its_fonts_and_letters(tmp_path, name, is_wide):
    journal = JOURNALS[name]
    spec = fitted(_chart(room_of(journal, is_wide=is_wide)), journal, is_wide=is_wide)
    content = save_fitted(spec, tmp_path / "a.pdf").read_bytes()
    box = re.search(rb"/MediaBox ?\[0 0 ([0-9.]+) ", content)
    assert box and float(box[1]) * 25.4 / 72 == pytest.approx(
        journal.page_mm if is_wide else journal.column_mm, abs=0.4
    )
    assert b"/FontFile" in content and "title" not in spec
    svg = save_fitted(spec, tmp_path / "a.svg").read_text()
    assert re.search(r'<svg[^>]* width="[0-9.]+mm"', svg)
    sizes = {float(size) for size in re.findall(r'font-size="([0-9.]+)px"', svg)}
    assert sizes == {journal.letters}


def test_two_legends_leave_the_panels_their_width():
    journal = JOURNALS["aistats"]
    look = CurveLook(DECAY, None, dash=DEPTH, room=room_of(journal, is_wide=False))
    spec = fitted(figures.metric_curves(pl.DataFrame(ROWS), "alignment", look), journal, is_wide=False)
    assert spec["width"] > 120


def test_a_caption_says_what_the_title_said():
    assert caption(_chart(title="Alignment")) == (
        "Alignment. layer 1, median of 3 trials, band from least to largest; dashed: the ansatz holds exactly."
    )


def test_an_ending_without_a_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.pdf, \.svg, \.png, \.json"):
        save_fitted({}, tmp_path / "a.html")


def test_csv_beside_a_figure_has_every_row_that_is_drawn(tmp_path):
    written = pl.read_csv(write_numbers(_chart(), tmp_path / "a.pdf", "csv"))
    assert written.height == len(ROWS) and (tmp_path / "a.csv").exists()
    one = written.filter((pl.col("color") == 0.1) & (pl.col("facet") == "depth L = 3"))
    assert one["median"].to_list() == pytest.approx([0.6, 0.61, 0.62, 0.63, 0.64])


def test_tikz_has_a_panel_for_each_facet_and_a_line_for_each_colour(tmp_path):
    text = write_numbers(_chart(), tmp_path / "a.pdf", "tikz").read_text()
    assert text.count(r"\nextgroupplot") == 3 and "group size=3 by 1" in text and "xmode=log" in text
    assert r"\addplot[nfa1] coordinates {(1,0.6) (2,0.61) (3,0.62) (4,0.63) (5,0.64)};" in text
    assert text.count(r"\addlegendentry") == 2 and text.count("fill between") == 6
    assert text.count("{") == text.count("}")


def test_a_figure_without_lines_has_no_tikz(tmp_path):
    found = {"x": DECAY, "y": DEPTH, "x_values": [0], "y_values": [2], "values": [[0.5]], "counts": [[3]]}
    phase = figures.phase_diagram(found | {"metric": "alignment", "layer": 1, "reduce": "final", "agg": "mean"})
    with pytest.raises(ValueError, match="curves, imbalance, multiples and scatter"):
        write_numbers(phase, tmp_path / "a.pdf", "tikz")
    with pytest.raises(Stop, match="curves, imbalance, multiples and scatter"):
        _written(phase, tmp_path / "a.pdf", None, Numbers.TIKZ, is_wide=False, is_dark=False)
    assert list(tmp_path.iterdir()) == [], "nor is the picture written"
