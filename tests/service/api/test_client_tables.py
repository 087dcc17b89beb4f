"""Tables of the client stack: a column's type does not depend on which trial, or how little of it, is in it."""

import numpy as np
import polars as pl
import pytest

from service.client import Client, ClientError
from service.questions.tables import long_table, series_table, table


def test_series_of_trials_with_and_without_values_stack():
    empty = {"step": [0, 1], "time": [None, None], "fact_alignment": [None, None], "best_exponent_kind": [None, None]}
    whole = {"step": [0, 1], "time": [0, 1], "fact_alignment": [1, 0.5], "best_exponent_kind": ["fit", "flat"]}
    none = {name: [] for name in empty}
    stacked = pl.concat([series_table(one) for one in (empty, whole, none)])
    assert stacked.schema == {
        "step": pl.Int64, "time": pl.Float64, "fact_alignment": pl.Float64, "best_exponent_kind": pl.String
    }  # fmt: skip
    assert stacked["fact_alignment"].to_list() == [None, None, 1.0, 0.5]


def test_results_and_curves_without_any_value_have_columns_of_numbers():
    rows = [{"training.weight_decay": 0.0, "trials": 2, "alignment_mean": None}]
    assert table(rows).schema["alignment_mean"] == pl.Float64
    item = {"training.weight_decay": 0.0, "step": [0, 1], "time": [0.0, 1.0], "alignment_median": [None, None]}
    assert long_table([item]).schema["alignment_median"] == pl.Float64
    # nobody has completed anything, and whole numbers where numbers are meant
    empty = item | {"step": [], "time": [], "alignment_median": []}
    whole = item | {"time": [0, 1], "alignment_median": [1, 0]}
    assert pl.concat([long_table([one]) for one in (item, empty, whole)]).schema["step"] == pl.Int64
    schema = table([rows[0] | {"alignment_mean": 1, "alignment_count": None}]).schema
    assert schema["alignment_mean"] == pl.Float64 and schema["alignment_count"] == schema["trials"] == pl.Int64


@pytest.fixture
def client(port):
    with Client(f"http://127.0.0.1:{port}") as made:
        yield made


def test_a_notebooks_grid_and_its_tables_through_the_service(client, train_queue, tiny_grid):
    trial = tiny_grid()["trial"] | {"measure": {"points": 3, "metrics": ["fact_alignment", "alignment"]}}
    grid = {
        "trial": trial | {"training": {"steps": np.int64(20)}},
        "axes": {"training.weight_decay": np.array([0.0, 0.1])},
        "seeds": range(1),
    }
    assert client.preview(grid).trials == 2
    made = client.submit(grid)
    train_queue()
    trials = [one.id for one in client.trials(made.id)]
    frames = [client.measurements(one, ["fact_alignment"], layer=np.int64(1)) for one in trials]
    assert frames[0]["fact_alignment"].null_count() == frames[0].height
    assert pl.concat(frames).schema["fact_alignment"] == pl.Float64
    for found in (
        client.results(made.id, metric=("fact_alignment",), where="training.weight_decay == 0"),
        client.curves(made.id, "fact_alignment", agg=["mean"], where="training.weight_decay == 0"),
    ):
        assert found.schema["fact_alignment_mean"] == pl.Float64 and found["fact_alignment_mean"].null_count() > 0
    wider = client.extend(made.id, axes={"training.weight_decay": np.array([0.2])}, seeds=np.int64(2))
    assert wider.trials.total == 6


def test_datasets_are_uploaded_listed_shown_and_deleted(client, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("a,b,year\n1,2,3\n4,5,6\n")
    with pytest.raises(ClientError, match=r"\?x=a,b&y=year"):
        client.upload(file)
    made = client.upload(str(file), x="a,b", y=["year"])
    assert made.name == "mine" and made.columns == {"x": ["a", "b"], "y": ["year"]}
    assert client.upload(file, "other", x=["a", "b"], y="year", targets="classes").arrays == {"x": [2, 2], "y": [2, 2]}
    assert {one.id for one in client.datasets()} > {made.id} and client.dataset(made.id) == made
    client.delete_dataset(made.id)
    assert made.id not in {one.id for one in client.datasets()}
    for missing, told in ((tmp_path / "no.csv", "cannot be read"), (tmp_path / "a.txt", "ending in .npz, .csv")):
        with pytest.raises(ClientError, match=told):
            client.upload(missing)


def test_a_safetensors_file_goes_back_by_its_ending(client, train_queue, tiny_grid, tmp_path, port):
    import httpx

    made = client.submit(tiny_grid(trial=tiny_grid()["trial"] | {"measure": {"weights": [20]}}, axes={}, seeds=1))
    train_queue()
    one = next(client.trials(made.id))
    file = tmp_path / "w.safetensors"
    file.write_bytes(httpx.get(f"http://127.0.0.1:{port}/api/v1/trials/{one.id}/weights").content)
    assert set(client.upload(file).arrays) == {"w1", "w2"}
