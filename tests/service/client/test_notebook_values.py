"""What a notebook puts into a grid: numbers of NumPy, pandas and polars; anything else is refused by its place."""

import datetime
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from service.client import Client, ClientError
from service.client.grids import body_of, plain


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.logspace(-3, -1, 3), [0.001, 0.01, 0.1]),
        (np.arange(8, 33, 8), [8, 16, 24, 32]),
        (list(np.arange(8, 33, 8)), [8, 16, 24, 32]),
        (range(3), [0, 1, 2]),
        ((1, 2.5), [1, 2.5]),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.longdouble(0.5), 0.5),
        (np.array([0.5], np.longdouble), [0.5]),
        (np.float16(2), 2.0),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.bool_(True), True),
        (np.array([True, False]), [True, False]),
        (np.array(7), 7),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1, "a", None], dtype=object), [1, "a", None]),
        (np.array(["gd", "sgd"]), ["gd", "sgd"]),
        (np.str_("gd"), "gd"),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (pd.Series([0.1, 0.2]), [0.1, 0.2]),
        (pd.Series([1, 2], dtype="Int64"), [1, 2]),
        (pd.Index([8, 16]), [8, 16]),
        (pd.RangeIndex(3), [0, 1, 2]),
        (pd.Series(["a", "b"]), ["a", "b"]),
        (pl.Series([1, 2]), [1, 2]),
        ({"log": np.array([0.001, 0.1, 5])}, {"log": [0.001, 0.1, 5]}),
        (OrderedDict(a=(np.int32(1),)), {"a": [1]}),
        (Path("a") / "b", "a/b"),
        (None, None),
        ("word", "word"),
    ],
)
def test_what_a_notebook_has_becomes_the_numbers_that_it_is(given, expected):
    made = plain({"axes": {"a": given}}, "")
    assert made == {"axes": {"a": expected}} and json.loads(json.dumps(made)) == made

    def kinds(value):
        return [kinds(one) for one in value] if isinstance(value, list) else type(value)

    assert kinds(made["axes"]["a"]) == kinds(expected)


@pytest.mark.parametrize(
    "given",
    [
        {1, 2},
        (one for one in (1, 2)),
        map(int, "12"),
        {"a": 1}.values(),
        1j,
        np.complex128(1j),
        np.datetime64("2026-01-01"),
        np.array(["2026-01-01"], "datetime64[ns]"),
        np.zeros(2, [("a", "f8")]),
        np.bytes_(b"a"),
        pd.Timestamp("2026-01-01"),
        pd.NA,
        datetime.date(2026, 1, 1),
        b"bytes",
        object(),
        len,
        [[object()]],
        {1: 2},
    ],
)
def test_anything_else_is_refused_with_its_place(given):
    with pytest.raises(ClientError) as error:
        plain({"axes": {"network.width": [8, given]}}, "")
    assert str(error.value).startswith("axes.network.width[1]")
    assert error.value.code == "not_sent" and error.value.errors[0]["path"].startswith("axes.network.width[1]")


def test_layers_may_be_named_by_numbers():
    layers = {1: {"learning_rate": np.float64(0.1)}, np.int64(2): {"weight_decay": 0}}
    made = plain({"trial": {"training": {"layers": layers}}, "axes": {"training.layers": [layers]}}, "")
    wanted = {"1": {"learning_rate": 0.1}, "2": {"weight_decay": 0}}
    assert made == {"trial": {"training": {"layers": wanted}}, "axes": {"training.layers": [wanted]}}


@pytest.mark.parametrize("text", ["grid.yaml", "./grid.YML", "folder/grid.json", "/tmp/grid.yaml ", "C:\\grid.yaml"])
def test_a_string_that_names_a_file_is_said_to_be_one(text):
    with pytest.raises(ClientError, match=r"is the name of a file, and there is no such file here.*Path\("):
        body_of(text)


def test_a_string_that_names_a_file_that_is_there_is_said_to_be_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my grid").write_text("{}")
    with pytest.raises(
        ClientError, match=r"'my grid' is the name of a file, not a grid's text: give Path\('my grid'\)"
    ):
        body_of("my grid")
    assert body_of(Path("my grid")) == (b"{}", "application/yaml")
    for missing in (Path("other.yaml"), tmp_path):
        with pytest.raises(ClientError, match="cannot be read"):
            body_of(missing)


@pytest.mark.parametrize(
    "text",
    ["{}", "name: of.yaml", "notes: see grid.json", "name: a\nnotes: b.yaml", '{"name": "a.json"}', "", "a" * 5000],
)
def test_text_that_is_a_grid_stays_one(text):
    assert body_of(text) == (text.encode(), "application/yaml")


@pytest.mark.parametrize("grid", [None, 3, ["axes"], {1: 2}, {"trial"}, object()])
def test_what_is_no_grid_at_all_is_refused_before_it_is_sent(grid):
    no_list: Any = {1, 2}
    with Client("http://127.0.0.1:9", retries=0) as client:
        for call in (client.submit, client.preview):
            with pytest.raises(ClientError) as error:
                call(grid)
            assert error.value.code == "not_sent"
        with pytest.raises(ClientError) as error:
            client.extend("e1", axes={"network.width": [object()]})
        assert "axes.network.width[0]" in str(error.value)
        with pytest.raises(ClientError) as error:
            client.extend("e1", seeds=no_list)
        assert str(error.value).startswith("seeds is set")
