"""The client's export to a file, against the application and against a line that breaks."""

import httpx
import polars as pl
import pytest

from service.client import Client, ClientError, Unreachable


@pytest.fixture
def client(api):
    """A client that calls the application without a network."""
    made = Client(retries=1)
    made._transport._http = api
    return made


def test_an_export_is_a_file_with_every_row(client, submit, train_queue, tmp_path):
    made = submit()["id"]
    train_queue()
    assert client.export(made, tmp_path / "sweep.parquet") == (tmp_path / "sweep.parquet").stat().st_size
    assert pl.read_parquet(tmp_path / "sweep.parquet").height == 6 * 5
    client.export(made, tmp_path / "sweep.csv", level="network")
    assert pl.read_csv(tmp_path / "sweep.csv").height == 6 * 5
    with pytest.raises(ValueError, match="parquet"):
        client.export(made, tmp_path / "sweep.xlsx")


def test_a_sweep_is_one_table_whose_mean_is_the_services(client, submit, train_queue):
    made = submit()["id"]
    train_queue()
    sweep = client.sweep(made)
    assert sweep.height == 6 * 5 and client.sweep(made, level="network").height == 6 * 5
    assert {"trial_id", "seed", "step", "time", "layer", "alignment"} <= set(sweep.columns)
    assert sweep.to_arrow().num_rows == sweep.height
    last = sweep.filter(pl.col("step") == pl.col("step").max().over("trial_id"))
    asked = client.results(made, group_by=["seed"], agg=["mean", "count"]).sort("seed")
    ours = last.group_by("seed").agg(pl.col("alignment").mean(), pl.len()).sort("seed")
    assert asked["alignment_count"].to_list() == ours["len"].to_list()
    assert asked["alignment_mean"].to_list() == pytest.approx(ours["alignment"].to_list(), abs=1e-12)


def test_a_wrong_metric_is_refused_with_the_nearest_name(client, submit):
    made = submit()["id"]
    for ask in (client.results, client.curves):
        with pytest.raises(ClientError, match="alignment") as refused:
            ask(made, metric="alignmnt")
        assert refused.value.status == 422 and "alignmnt" in str(refused.value.problem)


def test_an_export_that_breaks_off_is_asked_for_again_and_leaves_no_half_a_file(tmp_path):
    calls = []

    class Broken(httpx.SyncByteStream):
        def __iter__(self):
            yield b"half"
            raise httpx.ReadError("the line broke")

    def answer(request):
        calls.append(request)
        return httpx.Response(200, stream=Broken())

    made = Client(retries=1)
    made._transport._http = httpx.Client(base_url="http://nowhere", transport=httpx.MockTransport(answer))
    made._transport.sleep = lambda _: None
    with pytest.raises(Unreachable):
        made.export("e1", tmp_path / "sweep.csv")
    assert len(calls) == 2 and list(tmp_path.iterdir()) == []


def test_values_of_several_kinds_on_one_axis_are_one_column(client, submit, train_queue):
    made = submit(axes={"network.width": [4, [3, 2]], "network.depth": [3]}, seeds=2)["id"]
    train_queue()
    curves = client.curves(made, "alignment", group_by="network.width")
    assert curves["network.width"].unique(maintain_order=True).to_list() == ["4", "[3, 2]"]
    assert curves.group_by("network.width").len()["len"].to_list() == [curves["step"].n_unique()] * 2
    results = client.results(made, group_by="network.width", metric="alignment")
    assert results["network.width"].to_list() == ["4", "[3, 2]"]
