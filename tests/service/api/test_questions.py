"""Tables in every format, phase diagrams, comparisons, parametrised metrics and the whole-sweep export."""

import io
import json

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from starlette.responses import Response

from service.api.etags import KeptAnswers
from service.client import Client

ROOT = "/api/v1/experiments"
FORMATS = {
    "csv": pl.read_csv,
    "ndjson": pl.read_ndjson,
    "arrow": pl.read_ipc_stream,
    "parquet": pl.read_parquet,
}
TRIAL = {
    "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1], "test_samples": 10},
    "network": {"depth": 2, "width": 4},
    "training": {"steps": 20},
    "measure": {
        "points": 5,
        "layers": [1, 2],
        "metrics": ["train_loss", "generalisation_gap", "alignment", "best_exponent_kind", "agop_singular_value@1"],
        "exponents": [0.25],
    },
}
AXES = {"training.weight_decay": [0, 0.1], "training.learning_rate": [0.01]}


@pytest.fixture
def swept(submit, train_queue):
    """A completed experiment of six trials on two axes, with metrics that have a parameter."""
    made = submit(trial=TRIAL, axes=AXES)
    train_queue()
    return made["id"]


@pytest.fixture(scope="module")
def read_only(shared_api, shared_store):
    """The same experiment, trained once for all tests that only ask about it."""
    from training_here import train_everything

    made = shared_api.post(ROOT, json={"name": "tiny", "trial": TRIAL, "axes": AXES, "seeds": 3})
    assert made.status_code == 201, made.text
    train_everything(shared_store)
    return made.json()["id"]


def read(response):
    form = response.headers["content-disposition"].split(".")[-1].rstrip('"')
    return FORMATS[form](io.BytesIO(response.content))


@pytest.mark.parametrize("form", FORMATS)
def test_the_export_has_every_row_in_order_and_its_means_are_those_of_the_table(shared_api, read_only, form):
    found = shared_api.get(f"{ROOT}/{read_only}/measurements", params={"format": form})
    assert found.status_code == 200, found.text
    table = read(found)
    trials = shared_api.get(f"{ROOT}/{read_only}/trials").json()["items"]
    keys = [(one["id"], step, layer) for one in trials for step in (0, 1, 3, 7, 20) for layer in (1, 2)]
    assert table.select("trial_id", "step", "layer").rows() == keys
    assert table.columns[:7] == [
        "trial_id",
        "seed",
        "training.weight_decay",
        "training.learning_rate",
        "step",
        "time",
        "layer",
    ]
    assert set(table["best_exponent_kind"].drop_nulls()) <= {"interior", "lower", "upper", "flat"}
    for metric in ("alignment", "alignment@0.25", "agop_singular_value@1", "train_loss", "generalisation_gap"):
        rows = shared_api.get(f"{ROOT}/{read_only}/results", params={"metric": metric, "layer": 2}).json()["items"]
        for row in rows:
            own = table.filter(
                pl.col("training.weight_decay") == row["training.weight_decay"],
                pl.col("layer") == 2,
                pl.col("step") == 20,
            )
            assert row[f"{metric}_mean"] == pytest.approx(np.mean(own[metric].to_numpy()), rel=1e-12)
            assert row[f"{metric}_count"] == 3


def test_an_export_by_network_has_one_row_per_step(shared_api, read_only):
    table = read(shared_api.get(f"{ROOT}/{read_only}/measurements", params={"format": "csv", "level": "network"}))
    assert table.height == 6 * 5 and "layer" not in table.columns and "alignment" not in table.columns
    assert "train_loss" in table.columns and table["generalisation_gap"].null_count() == 0


def test_an_export_of_what_has_not_been_measured_is_an_empty_table(api, submit):
    made = submit()["id"]
    table = read(api.get(f"{ROOT}/{made}/measurements", params={"format": "parquet"}))
    assert table.height == 0 and "alignment" in table.columns


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("question", ["results", "curves", "phase"])
def test_every_table_is_answered_in_every_format_with_the_same_names(shared_api, read_only, question, form):
    path = f"{ROOT}/{read_only}/{question}"
    table = read(shared_api.get(path, params={"format": form}))
    assert {"training.weight_decay", "alignment_mean", "alignment_count"} <= set(table.columns)
    answer = shared_api.get(path).json()
    if question == "results":
        assert table.to_dicts() == [pytest.approx(row) for row in answer["items"]]
    if question == "curves":
        assert table["alignment_mean"].to_list() == pytest.approx(
            [value for item in answer["items"] for value in item["alignment_mean"]]
        )


def test_the_accept_header_chooses_the_format_and_an_unknown_one_is_refused_with_the_known(shared_api, read_only):
    path = f"{ROOT}/{read_only}/results"
    wanted = {"Accept": "text/html, application/vnd.apache.parquet;q=0.9, */*;q=0.1"}
    found = shared_api.get(path, headers=wanted)
    assert found.headers["content-type"] == "application/vnd.apache.parquet"
    assert pq.read_table(io.BytesIO(found.content)).num_rows == 2
    assert shared_api.get(path, headers={"Accept": "image/png"}).status_code == 406
    refused = shared_api.get(path, params={"format": "parquett"}).json()
    assert refused["errors"][0]["nearest"] == "parquet" and "csv" in refused["errors"][0]["allowed"]


def test_a_phase_diagram_has_a_row_per_y_and_counts_its_trials(shared_api, read_only):
    found = shared_api.get(f"{ROOT}/{read_only}/phase", params={"x": "training.weight_decay", "y": "seed"}).json()
    assert found["x_values"] == [0, 0.1] and found["y_values"] == [0, 1, 2]
    assert found["counts"] == [[1, 1]] * 3 and np.shape(found["values"]) == (3, 2)
    trials = shared_api.get(f"{ROOT}/{read_only}/trials").json()["items"]
    by_key = {(t["seed"], t["settings"]["training"]["weight_decay"]): t["final"]["alignment"] for t in trials}
    assert found["values"][1][0] == by_key[1, 0]
    default = shared_api.get(f"{ROOT}/{read_only}/phase").json()
    assert (default["x"], default["y"]) == ("training.weight_decay", "training.learning_rate")


def test_a_cell_without_trials_is_null(api, submit, train_queue):
    made = submit(
        axes={"training.weight_decay": [0, 0.1], "network.depth": [2, 3]},
        exclude=[{"training.weight_decay": 0.1, "network.depth": 3}],
    )["id"]
    train_queue()
    found = api.get(f"{ROOT}/{made}/phase").json()
    assert found["values"][1][1] is None and found["counts"] == [[3, 3], [3, 0]]


def test_further_experiments_are_told_apart_and_share_the_axes_of_a_diagram(api, submit, train_queue, swept):
    other = submit(axes={"training.weight_decay": [0.1, 0.2], "training.learning_rate": [0.01]}, seeds=2)["id"]
    train_queue()
    rows = api.get(f"{ROOT}/{swept}/results", params={"also": other}).json()["items"]
    assert [(row["experiment"], row["training.weight_decay"], row["trials"]) for row in rows] == [
        (swept, 0, 3),
        (swept, 0.1, 3),
        (other, 0.1, 2),
        (other, 0.2, 2),
    ]
    curves = api.get(f"{ROOT}/{swept}/curves", params={"also": other}).json()["items"]
    assert {item["experiment"] for item in curves} == {swept, other}
    both = api.get(f"{ROOT}/{swept}/phase", params={"also": other}).json()
    assert both["x_values"] == [0, 0.1, 0.2] and both["counts"] == [[3, 3, 0]]
    assert both["also"][0]["experiment"] == other and both["also"][0]["counts"] == [[0, 2, 2]]
    assert api.get(f"{ROOT}/{swept}/results", params={"also": "e999"}).status_code == 404


def test_a_metric_without_a_column_is_asked_for_as_any_other(api, swept):
    """generalisation_gap lies in rows by name, as every metric that came after 0.1 does."""
    metric = "generalisation_gap"
    items = api.get(f"{ROOT}/{swept}/trials", params={"sort": f"-final.{metric}"}).json()["items"]
    finals = [one["final"][metric] for one in items]
    assert finals == sorted(finals, reverse=True) and len(set(finals)) == 6
    assert not any(name.startswith(f"{metric}[") for one in items for name in one["final"])
    above = api.get(f"{ROOT}/{swept}/trials", params={"where": f"final.{metric} > {finals[2]!r}"}).json()["items"]
    assert [one["final"][metric] for one in above] and {one["final"][metric] for one in above} == set(finals[:2])
    for layer in ({}, {"layer": 2}):
        series = api.get(f"/api/v1/trials/{items[0]['id']}/measurements", params=layer).json()
        assert len(series[metric]) == 5 and series[metric][-1] == finals[0]
    curves = api.get(f"{ROOT}/{swept}/curves", params={"metric": metric, "group_by": ""}).json()["items"]
    assert curves[0][f"{metric}_mean"][-1] == pytest.approx(np.mean(finals), rel=1e-12)
    phase = api.get(f"{ROOT}/{swept}/phase", params={"metric": metric}).json()
    assert np.sum(np.array(phase["values"]) * phase["counts"]) == pytest.approx(sum(finals), rel=1e-12)
    largest = api.get(f"{ROOT}/{swept}/results", params={"metric": metric, "reduce": "max", "group_by": ""}).json()
    assert largest["items"][0][f"{metric}_count"] == 6
    claim = {"id": "g", "says": "it stays below", "metric": metric, "any_trial": f">= {finals[0]!r}", "gate": "none"}
    judged = api.post(f"{ROOT}/{swept}/claims", json={"claims": [claim]}).json()["items"][0]
    assert judged["holds"] is True and judged["worst"] == finals[0]


def test_metrics_with_a_parameter_have_curves_filters_and_verdicts(api, submit, train_queue):
    claim = {"id": "c", "metric": "alignment@0.25", "layer": 2, "every_trial": ">= 0", "gate": "none"}
    made = submit(trial=TRIAL, claims=[claim])["id"]
    train_queue()
    curve = api.get(f"{ROOT}/{made}/curves", params={"metric": "alignment@0.250", "layer": 2}).json()["items"][0]
    assert curve["step"] == [0, 1, 3, 7, 20] and curve["alignment@0.25_count"] == [3] * 5
    verdict = api.get(f"{ROOT}/{made}/verdicts").json()["items"][0]
    assert verdict["holds"] is True and verdict["trials"] == 6 and 0 <= verdict["worst"] <= 1
    where = f"final.alignment@0.25[2] <= {verdict['worst'] + 1e-12}"
    rows = api.get(f"{ROOT}/{made}/results", params={"where": where}).json()["items"]
    assert sum(row["trials"] for row in rows) == 1
    refused = api.get(f"{ROOT}/{made}/results", params={"metric": "alignement@0.25"})
    assert refused.status_code == 422 and refused.json()["errors"][0]["nearest"]


@pytest.mark.parametrize("reduce", ["first", "min", "max", "mean_last:2", "first_above:0.2", "first_below:0.5"])
def test_a_reduction_is_what_the_series_say(shared_api, read_only, reduce):
    table = read(shared_api.get(f"{ROOT}/{read_only}/measurements", params={"format": "parquet"})).filter(
        pl.col("layer") == 1
    )
    kind, _, number = reduce.partition(":")
    expected = {}
    for (key,), part in table.group_by("training.weight_decay"):
        values = []
        for _, series in part.group_by("trial_id", maintain_order=True):
            steps, v = series["step"].to_numpy(), series["alignment"].to_numpy()
            level = float(number or 0)
            hits = steps[v > level] if kind == "first_above" else steps[v < level]
            found = {"first": v[:1], "min": [v.min()], "max": [v.max()], "mean_last": [v[-2:].mean()]}
            values += list(found.get(kind, hits[:1]))
        expected[key] = np.array(values, float)
    for row in shared_api.get(f"{ROOT}/{read_only}/results", params={"reduce": reduce}).json()["items"]:
        values = expected[row["training.weight_decay"]]
        assert row["alignment_count"] == len(values)
        if len(values):
            assert row["alignment_mean"] == pytest.approx(values.mean(), rel=1e-12)


def test_what_no_longer_changes_has_an_etag_until_trials_run_again(api, submit, train_queue):
    made = submit()["id"]
    path = f"{ROOT}/{made}/results"
    waiting = api.get(path)
    assert waiting.json()["items"][0]["incomplete"] > 0
    for changing in ("trials", "curves?running=true"):
        assert "etag" not in api.get(f"{ROOT}/{made}/{changing}").headers
    train_queue()
    ended = api.get(path, headers={"If-None-Match": waiting.headers["etag"]})
    assert ended.status_code == 200 and ended.json()["items"][0]["incomplete"] == 0
    tag = ended.headers["etag"]
    same = api.get(path, headers={"If-None-Match": tag})
    assert same.status_code == 304 and same.content == b"" and same.headers["etag"] == tag
    assert api.get(path, params={"agg": "max"}).headers["etag"] != tag
    assert api.get(path, params={"format": "csv"}, headers={"If-None-Match": tag}).status_code == 200
    api.post(f"{ROOT}/{made}/extend", json={"seeds": 4})
    extended = api.get(path, headers={"If-None-Match": tag})
    assert extended.status_code == 200 and extended.json()["items"][0]["incomplete"] > 0
    train_queue()
    assert api.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_kept_answers_are_the_same_and_follow_what_changes(api, submit, train_queue):
    made = submit()["id"]
    train_queue()
    first = api.get(f"{ROOT}/{made}/trials").json()["items"][0]["id"]
    paths = [f"{ROOT}/{made}/{name}" for name in ("results", "curves", "verdicts", "trials", "trials?sort=-seed")]
    paths += [f"/api/v1/trials/{first}", f"/api/v1/trials/{first}/measurements"]
    for path in paths:
        made_anew, kept = api.get(path), api.get(path)
        assert kept.content == made_anew.content and kept.headers["etag"] == made_anew.headers["etag"]
        assert kept.headers["content-type"] == made_anew.headers["content-type"]
    first_time, kept = (dict(api.get(paths[0], params={"format": "csv"}).headers) for _ in range(2))
    assert first_time.pop("x-request-id") != kept.pop("x-request-id")
    assert kept == first_time
    claim = {"id": "new", "says": "they align", "metric": "alignment", "every_trial": ">= 0"}
    api.post(f"{ROOT}/{made}/claims", json={"claims": [claim]})
    assert "new" in [one["id"] for one in api.get(f"{ROOT}/{made}/verdicts").json()["items"]]


def test_what_is_kept_is_bounded():
    kept = KeptAnswers(most_bytes=20_000)
    for number in range(5):
        kept.put(str(number), Response(bytes(8_000), headers={"ETag": str(number)}))
    kept.put("large", Response(bytes(20_001)))
    found = [tag for tag in (*"01234", "large") if kept.get(tag)]
    assert found == ["3", "4"]
    for number in range(100):
        kept.put(f"empty {number}", Response(b"", headers={"ETag": str(number)}))
    assert len([number for number in range(100) if kept.get(f"empty {number}")]) == 19


def test_answers_are_compressed_unless_they_are_packed_already(shared_api, read_only):
    path = f"{ROOT}/{read_only}/measurements"
    plain = shared_api.get(path, params={"format": "ndjson"}, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for accepted, packed in {"gzip": "gzip", "gzip, zstd": "zstd", "zstd;q=0, gzip": "gzip"}.items():
        for form in ("csv", "ndjson"):
            answer = shared_api.get(path, params={"format": form}, headers={"Accept-Encoding": accepted})
            assert answer.headers["content-encoding"] == packed
        assert answer.text == plain.text
        for form in ("arrow", "parquet"):
            answer = shared_api.get(path, params={"format": form}, headers={"Accept-Encoding": accepted})
            assert "content-encoding" not in answer.headers
    lines = plain.text.splitlines()
    assert len(lines) == 60 and json.loads(lines[0])["step"] == 0


def test_a_group_of_three_hundred_seeds_counts_three_hundred(api, submit, train_queue):
    made = submit(axes={}, seeds=300)["id"]
    train_queue()
    row = api.get(f"{ROOT}/{made}/results", params={"agg": "mean,std,count"}).json()["items"][0]
    table = read(api.get(f"{ROOT}/{made}/measurements", params={"format": "parquet"}))
    last = table.filter(pl.col("step") == 20)["alignment"].to_numpy()
    assert row["trials"] == row["alignment_count"] == len(last) == 300
    assert row["alignment_mean"] == pytest.approx(last.mean(), rel=1e-12)
    assert row["alignment_std"] == pytest.approx(last.std(ddof=1), rel=1e-12)


def test_an_export_that_nobody_reads_on_holds_no_connection(store, swept, monkeypatch):
    from service.store import sweeps

    monkeypatch.setattr(sweeps, "PIECE_ROWS", 20)
    found = sweeps.pieces(store, sweeps.open_sweep(store, swept, "layer"))
    assert next(found).height == 10
    found.close()
    with store.write() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        if store.dialect == "postgresql":
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
            assert connection.exec_driver_sql(query).scalar() == 1


def test_the_client_compares_experiments(api, submit, train_queue, swept, port):
    other = submit(trial=TRIAL, axes={"training.weight_decay": [0, 0.3]})["id"]
    train_queue()
    axis = ["training.weight_decay"]
    with Client(f"http://127.0.0.1:{port}") as client:
        table = client.results(swept, group_by=axis, also=[other])
        assert table["experiment"].to_list() == [swept, swept, other, other]
        assert set(client.curves(swept, group_by=axis, also=[other])["experiment"]) == {swept, other}
        diagram = client.phase(swept, x=axis[0], y="training.learning_rate", also=[other])
        assert [one["experiment"] for one in diagram["also"]] == [other] and diagram["x_values"] == [0, 0.1, 0.3]


def test_what_groups_pool_is_answered_and_followed_by_the_client(api, swept, port):
    whole = api.get(f"{ROOT}/{swept}/pooling").json()
    assert whole["over"] == [] and whole["says"].endswith("seeds")
    mixed = api.get(f"{ROOT}/{swept}/pooling", params={"group_by": ""}).json()
    assert mixed["over"] and "pooled over" in mixed["says"]
    assert mixed["trials"][1] == sum(row["trials"] for row in api.get(f"{ROOT}/{swept}/results").json()["items"])
    with Client(f"http://127.0.0.1:{port}") as client:
        assert client.pooling(swept, group_by=[]).says == mixed["says"]
    assert api.get(f"{ROOT}/{swept}/pooling", params={"group_by": "bogus"}).status_code == 422
