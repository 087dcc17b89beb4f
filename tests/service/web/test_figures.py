"""Every figure: what it draws, in which order, and what it leaves out."""

from typing import Any

import polars as pl
import pytest
import vl_convert

from service.web import figures
from service.web.drawing import _depth_counts_maps, _edge, recorded_members
from service.web.figures.curves import CurveLook
from service.web.figures.variables import variable, word_axis

CURVES = pl.DataFrame(
    {
        "training.weight_decay": [0.1, 0.1, 0.1, 0.02, 0.02, 0.02],
        "step": [0, 1, 2, 0, 1, 2],
        "time": [0.0, 0.1, 0.2, 0.0, 0.1, 0.2],
        "imbalance_median": [1.0, 0.9, 0.8, 1.0, None, 0.9],
        "imbalance_min": [0.5, 0.4, 0.3, 0.5, None, 0.4],
        "imbalance_max": [1.5, 1.4, 1.3, 1.5, None, 1.4],
        "imbalance_count": [3, 3, 3, 3, 0, 3],
    }
)
PHASE = {
    "x": "training.weight_decay",
    "y": "network.depth",
    "x_values": [0.02, 0.1],
    "y_values": [2, 3],
    "values": [[0.5, None], [0.7, 1.0]],
    "counts": [[3, 0], [2, 3]],
    "metric": "alignment",
    "layer": 1,
    "reduce": "final",
    "agg": "mean",
}


def test_a_line_breaks_where_nothing_is_defined_and_theory_starts_where_it_does():
    chart = figures.metric_curves(CURVES, "imbalance", CurveLook("training.weight_decay", against="time")).to_dict()
    rows = chart["data"]["values"]
    assert [row["median"] for row in rows if row["color"] == "0.02"] == [1.0, None, 0.9]
    assert [row["theory"] for row in rows if row["color"] == "0.1"] == pytest.approx([1.0, 0.9802, 0.96079], rel=1e-4)
    assert chart["layer"][1]["mark"]["invalid"] == "break-paths-filter-domains"
    assert chart["title"]["subtitle"].startswith("median of 3 trials")


@pytest.mark.parametrize(("least", "has_box"), [(0.0, False), (0.004, False), (0.04, False), (0.2, True), (0.9, True)])
@pytest.mark.parametrize("facet", [None, "training.weight_decay"])
def test_the_box_of_the_whole_range_is_there_where_its_axis_asks_for_it(least, has_box, facet):
    columns = {f"alignment_{name}": [least, 0.95, 1.0] * 2 for name in ("median", "min", "max")}
    curves = CURVES.select("training.weight_decay", "step", "time").with_columns(
        pl.lit(3).alias("alignment_count"), *(pl.Series(name, values) for name, values in columns.items())
    )
    spec = figures.metric_curves(curves, "alignment", CurveLook("training.weight_decay", facet)).to_dict()
    named = {one["name"] for one in spec.get("params", ())}
    assert ("whole" in named) == ("whole ?" in str(spec)) == has_box


EDGE = pl.DataFrame(
    {
        "training.learning_rate": [0.1, 0.1, 0.5, 0.5],
        "training.optimizer": ["gd", "gd", "gd", "gd"],
        "step": [0, 9, 0, 9],
        "time": [0.0, 0.9, 0.0, 4.5],
        **{f"sharpness_{name}": [5.0, 19.0, 2.0, 4.2] for name in ("median", "min", "max")},
        "sharpness_count": [3, 3, 3, 3],
    }
)


def test_sharpness_stands_beside_two_over_the_learning_rate_of_plain_steps():
    look = CurveLook("training.learning_rate")
    chart = figures.metric_curves(EDGE, "sharpness", look).to_dict()
    theory = {(row["color"], row["theory"]) for row in chart["data"]["values"]}
    assert theory == {("0.1", 20.0), ("0.5", 4.0)}
    assert chart["title"]["subtitle"].endswith("dashed: 2 / learning rate")
    mixed = EDGE.with_columns(pl.Series("training.optimizer", ["gd", "gd", "adam", "adam"]))
    rows = figures.metric_curves(mixed, "sharpness", look).to_dict()["data"]["values"]
    assert {(row["color"], row["theory"]) for row in rows} == {("0.1", 20.0), ("0.5", None)}
    for table in (EDGE.drop("training.optimizer"), EDGE.with_columns(pl.lit("adam").alias("training.optimizer"))):
        chart = figures.metric_curves(table, "sharpness", look).to_dict()
        assert "dashed" not in chart["title"]["subtitle"] and "theory" not in chart["data"]["values"][0]


@pytest.mark.parametrize(
    ("grid", "keys", "asked"),
    [
        ({"axes": {"training.learning_rate": [0.1, 0.2]}}, ["training.learning_rate"], ["training.optimizer"]),
        ({"axes": {"training.learning_rate": [0.1, 0.2]}}, ["network.depth"], []),
        ({"axes": {"network.depth": [2, 3]}}, ["network.depth"], ["training.learning_rate", "training.optimizer"]),
        ({"zip": [{"training.learning_rate": [1, 2], "training.optimizer": ["gd", "adam"]}]}, ["seed"], []),
        ({"include": [{"training.optimizer": "adam"}]}, ["seed"], []),
        ({"axes": {"training": [{"learning_rate": 0.1}, {"learning_rate": 0.2}]}}, ["seed"], []),
        ({}, ["experiment"], []),
    ],
)
def test_the_edge_is_asked_for_where_that_tells_no_more_lines_apart(grid, keys, asked):
    assert _edge(grid, keys) == asked


def test_the_legend_is_ordered_by_value():
    chart = figures.metric_curves(CURVES, "imbalance", CurveLook("training.weight_decay")).to_dict()
    assert chart["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["0.02", "0.1"]


def test_an_empty_cell_of_a_phase_diagram_stays_empty():
    chart = figures.phase_diagram(PHASE).to_dict()
    cells = {(cell["x"], cell["y"]): cell["count"] for cell in chart["data"]["values"]}
    assert cells == {("0.02", "2"): "n = 3", ("0.02", "3"): "n = 2", ("0.1", "3"): "n = 3"}


@pytest.mark.parametrize(
    ("value", "room", "text", "letters"),
    [
        (1 - 2.4e-10, 1100, "1-2.4e-10", 12),
        (1 - 2.4e-10, 360, "1-2.4e-10", 10),
        (0.5, 360, "0.5", 12),
        (1 - 2.4e-10, 310, "1-2e-10", 10),
        (1 - 2.4e-10, 250, None, None),
    ],
)
def test_what_is_written_in_a_cell_fits_into_it(value, room, text, letters):
    names = [0.1, 0.2, 0.3, 0.4, 0.5]
    found = PHASE | {"x_values": names, "y_values": [2], "values": [[value] * 5], "counts": [[3] * 5]}
    spec = figures.phase_diagram(found, room=room).to_dict()
    written = [layer["mark"]["fontSize"] for layer in spec["layer"] if layer["mark"]["type"] == "text"]
    assert written == ([] if letters is None else [letters, 10])
    assert text is None or spec["data"]["values"][0]["text"] == text


def test_best_exponents_stand_beside_one_over_depth():
    table = pl.DataFrame(
        {"network.depth": [2, 4]} | {f"best_exponent_{n}": [0.5, 0.25] for n in ("median", "min", "max")}
    )
    chart = figures.exponent_by_depth(table.with_columns(pl.lit(3).alias("best_exponent_count"))).to_dict()
    assert [row["theory"] for row in chart["layer"][0]["data"]["values"]] == [1 / 2, 1 / 3, 1 / 4]


def test_a_profile_has_a_point_for_every_exponent():
    names = [f"alignment@{exponent}_{part}" for exponent in ("0.5", "1") for part in ("median", "count")]
    table = pl.DataFrame({"network.depth": [2, 3]} | {name: [1, 1] for name in names})
    chart = figures.exponent_profile(table, color="network.depth").to_dict()
    assert len(chart["data"]["values"]) == 4


def test_theory_is_marked_where_depth_counts_the_maps_above_a_layer():
    names = [f"alignment@0.5_{part}" for part in ("median", "count")]
    table = pl.DataFrame({"network.depth": [2, 4], "seed": [0, 1]} | {name: [1, 1] for name in names})

    def marked(**options):
        drawn = figures.exponent_profile(table, color="seed", **options).to_dict()
        return [point["theory"] for point in drawn["data"]["values"]], str(drawn["title"]["subtitle"])

    assert marked()[0] == [1 / 2, 1 / 4] and "dashed: 1/L" in marked()[1]
    assert marked(layer=3)[0] == [None, 1 / 2] and "for l = 3" in marked(layer=3)[1]
    for options in ({"layer": "conv1"}, {"has_theory": False}):
        assert marked(**options)[0] == [None, None] and "dashed" not in marked(**options)[1]
    counts = pl.DataFrame(
        {"network.depth": [2]} | {f"best_exponent_{n}": [0.5] for n in ("median", "min", "max", "count")}
    )
    drawn = figures.exponent_by_depth(counts, has_theory=False).to_dict()
    assert drawn["layer"][0]["data"]["values"] == [] and "dashed" not in str(drawn["title"]["subtitle"])


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_figures_are_written_without_a_network(ending, tmp_path):
    file = figures.save(figures.phase_diagram(PHASE, "<script>"), tmp_path / f"phase{ending}")
    assert file.stat().st_size > 1_000


def test_a_spectrum_has_a_line_for_every_index_and_a_panel_for_every_setting():
    tables = {
        f"agop_singular_value@{index}": pl.DataFrame(
            {"network.depth": [2, 2, 3], "step": [0, 9, 0], "time": [0.0, 0.9, 0.0]}
            | {f"agop_singular_value@{index}_{part}": [1.0 / index, 0.0, 2.0] for part in ("median", "min", "max")}
            | {f"agop_singular_value@{index}_count": [3, 3, 2]}
        )
        for index in (1, 2)
    }
    chart = figures.spectra(tables, ["network.depth"]).to_dict()
    rows = chart["data"]["values"]
    assert {(row["color"], row["facet"]) for row in rows} == {(i, f"depth L = {d}") for i in "12" for d in (2, 3)}
    # zero has no place on a logarithmic axis
    assert [row["median"] for row in rows if row["color"] == "2" and row["x"] == 10] == [None]
    assert "2 to 3 trials" in chart["title"]["subtitle"]


def test_a_figure_on_a_dark_ground_is_the_same_in_other_colours():
    plain = figures.metric_curves(CURVES, "imbalance", CurveLook("training.weight_decay"))
    night = figures.dark(plain).to_dict()
    assert [*night["datasets"].values()] == [plain.to_dict()["data"]["values"]]
    assert night["config"]["background"] != plain.to_dict()["config"]["background"]
    before, after = (one["layer"][0]["encoding"]["color"]["scale"] for one in (plain.to_dict(), night))
    assert before["domain"] == after["domain"] and not set(before["range"]) & set(after["range"])


def test_recorded_members_are_in_the_order_of_their_parameter():
    measure = {"metrics": ["train_loss", "agop_singular_value@10", "agop_singular_value@2"], "exponents": [1, 0.25]}
    assert recorded_members({"trial": {"measure": measure}}) == [
        "agop_singular_value@2",
        "agop_singular_value@10",
        "alignment@0.25",
        "alignment@1",
    ]
    assert recorded_members({"trial": {"measure": {"metrics": "all"}}}) == recorded_members({}) == []


def _drawings():
    """Every kind of figure with and without what may be left out, by a name."""
    depths = pl.DataFrame(
        {"network.depth": [2, 3], "training.weight_decay": [0.1, 0.02], "step": [0, 9], "time": [0.0, 0.9]}
        | {f"best_exponent_{part}": [0.5, 0.25] for part in ("median", "min", "max")}
        | {"best_exponent_count": [3, 3]}
    )
    profile = depths.with_columns(
        pl.lit(value).alias(f"alignment@{exponent}_{part}")
        for exponent in ("0.5", "1")
        for part, value in (("median", 0.9), ("count", 3))
    )
    values = {"median": 2.0, "min": 1.0, "max": 3.0, "count": 3}
    columns = {f"agop_singular_value@1_{part}": value for part, value in values.items()}
    spectrum = depths.with_columns(pl.lit(value).alias(name) for name, value in columns.items())
    for room in (0, 300, 1000):
        for facet in (None, "network.depth"):
            table = CURVES.with_columns(pl.lit(2).alias("network.depth"))
            look = CurveLook("training.weight_decay", facet, dash="network.depth", room=room)
            yield f"curves {facet} {room}", figures.metric_curves(table, "imbalance", look)
            options: dict[str, Any] = {"color": "training.weight_decay", "facet": facet, "room": room}
            yield f"profile {facet} {room}", figures.exponent_profile(profile, **options)
            keys = [facet] if facet else []
            yield f"spectra {facet} {room}", figures.spectra({"agop_singular_value@1": spectrum}, keys, room=room)
        for color in (None, "training.weight_decay"):
            yield f"exponent {color} {room}", figures.exponent_by_depth(depths, color=color, room=room)
        yield f"phase {room}", figures.phase_diagram(PHASE, room=room)
        series = {"step": [0, 9], "time": [0.0, 0.9], "train_loss": [1.0, 0.5]}
        yield f"trial {room}", figures.trial_panels(series, title="t", layer=1, room=room)


@pytest.mark.parametrize(("name", "chart"), [pytest.param(*one, id=one[0]) for one in _drawings()])
def test_every_figure_is_drawn_whatever_it_leaves_out(name, chart):
    assert vl_convert.vegalite_to_svg(chart.to_dict()).startswith("<svg"), name


@pytest.mark.parametrize(("name", "chart"), [pytest.param(*one, id=one[0]) for one in _drawings()])
def test_no_look_depends_on_where_the_pointer_is_for_that_would_draw_all_anew(name, chart):
    assert "'param': 'over'" not in str(chart.to_dict()), name


@pytest.mark.parametrize(
    ("grid", "counts"),
    [
        ({}, True),
        ({"trial": {"network": {"kind": "convnet"}}}, True),
        ({"trial": {"network": {"kind": "transformer"}}}, False),
        ({"axes": {"network.kind": ["mlp", "transformer"]}}, False),
        ({"axes": {"network": [{"kind": "graph", "layers": []}]}}, False),
        ({"zip": [{"network.kind": ["mlp", "resmlp"], "seed": [1, 2]}], "include": [{"network.kind": "graph"}]}, False),
        ({"axes": {"training.learning_rate": {"log": [0.1, 1, 3]}}, "include": [{"network": {"kind": "mlp"}}]}, True),
    ],
)
def test_depth_counts_maps_in_a_row_but_in_transformers_and_graphs(grid, counts):
    assert _depth_counts_maps(grid) is counts


@pytest.mark.parametrize("facet", [None, "training.weight_decay"])
def test_a_drawing_that_nobody_touches_lacks_only_what_a_pointer_shows(facet):
    look = CurveLook("training.weight_decay", facet, against="time")
    spec = figures.metric_curves(CURVES, "imbalance", look).to_dict()
    still = figures.untouched(spec)
    whole, rest = (one.get("spec", one)["layer"] for one in (spec, still))
    gone = [layer for layer in whole if layer not in rest]
    assert [layer["mark"]["type"] for layer in gone] == ["point"]
    names = {one["name"] for one in still["params"]}
    assert "zoom" in names and "over" not in names and "over" not in str(rest)
    assert len(vl_convert.vegalite_to_pdf(still)) < len(vl_convert.vegalite_to_pdf(spec))


def test_words_along_an_axis_are_all_read_side_by_side_or_slanted():
    activations = ["linear", "relu", "tanh", "gelu", "silu", "softplus", "erf", "quadratic", "leaky_relu", "sigmoid"]
    assert word_axis(activations[:3], 250) == {"labelAngle": 0, "labelOverlap": False}
    slanted = word_axis(activations, 250)
    assert slanted["labelAngle"] < 0 and slanted["labelOverlap"] is False
    # of very many no figure has room for all
    assert word_axis([f"word {number}" for number in range(60)], 250)["labelOverlap"] is True
    assert word_axis([], 250)["labelAngle"] == 0


def test_a_scatter_over_words_names_each_of_them():
    words = ["linear", "relu", "leaky_relu", "quadratic", "softplus", "sigmoid"]
    frame = pl.DataFrame({"network.activation": words, "final.alignment": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]})
    x, y = (variable(path, frame[path]) for path in frame.columns)
    spec = figures.scatter(frame, x, y, color=None).to_dict(validate=False)
    drawn = vl_convert.vegalite_to_svg(spec)
    assert all(f">{word}<" in drawn for word in words)
