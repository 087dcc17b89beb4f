"""Runs for MLflow and TensorBoard, read back by their own readers."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_here import train_everything
from typer.testing import CliRunner

from service.cli import export
from service.cli.main import app
from service.client import Client
from service.interchange.runs import read_runs
from service.interchange.tensorboard import masked
from service.main import create_app
from service.settings import Settings
from service.store import schema
from service.store.session import open_store

CLAIMS = [{"id": "../small / loss", "metric": "train_loss", "every_trial": "<= 1e9", "gate": "none"}]


NAMED = {
    "data": {"samples": 9, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
    "network": {"depth": 2, "width": 4},
    "training": {"steps": 2},
    "measure": {"points": 2, "layers": "all", "metrics": ["alignment", "train_loss"]},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a service with a trained experiment e1: six trials, two layers, one metric by a parameter."""
    trial = {
        "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 2, "width": 4},
        "training": {"steps": 20},
        "measure": {"points": 5, "layers": "all", "exponents": [0.25]},
    }
    grid = {"name": "runs", "trial": trial, "axes": {"training.weight_decay": [0, 0.1]}, "seeds": 3, "claims": CLAIMS}
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'nfa.db'}") as store:
        schema.upgrade(store)
        with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as application, Client() as made:
            made._transport._http = application
            made.submit(grid)
            made.submit({"name": "kinds", "trial": NAMED, "axes": {"network.kind": ["mlp", "resmlp"]}})
            train_everything(store)
            yield made


@pytest.fixture
def nfa(client: Client, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `nfa export e1`, and answers what it says as JSON."""

    class Kept:
        def __enter__(self) -> Client:
            return client

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(export, "connect", lambda url, token: Kept())

    def run(*words: str) -> Any:
        done = CliRunner().invoke(app, ["export", "e1", *words, "--json"])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return json.loads(done.output)

    return run


def _series(client: Client, trial: str, metric: str, layer: int) -> list[tuple[int, float]]:
    table = client.measurements(trial, [metric], layer=layer).drop_nulls()
    return list(zip(table["step"].to_list(), table[metric].to_list(), strict=True))


@pytest.mark.parametrize("address", ["", "file://"])
def test_mlflows_own_client_reads_settings_tags_series_and_verdicts(
    client: Client, nfa: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    where = f"{address}{tmp_path / 'runs'}"
    assert nfa(where, "--to", "mlflow") == {"to": "mlflow", "where": where, "runs": 6}
    reader = MlflowClient(tracking_uri=f"file://{tmp_path / 'runs'}")
    experiment = reader.get_experiment_by_name("e1 runs")
    assert experiment is not None and experiment.tags["nfa.experiment"] == "e1"
    assert experiment.tags["nfa.verdict._small _ loss"].startswith("holds: ")
    runs = reader.search_runs([experiment.experiment_id])
    trials = {one.id: one for one in client.trials("e1")}
    assert {run.info.run_name for run in runs} == set(trials) and {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        trial = trials[str(run.info.run_name)]
        assert run.data.params["seed"] == str(trial.seed)
        assert run.data.params["training.weight_decay"] == str(trial.settings["training"]["weight_decay"])
        assert run.data.tags["nfa.fingerprint"] == trial.fingerprint
        for name, metric, layer in (
            ("train_loss", "train_loss", 1),
            ("alignment/layer_2", "alignment", 2),
            ("alignment_at_0.25/layer_1", "alignment@0.25", 1),
        ):
            history = reader.get_metric_history(run.info.run_id, name)
            assert [(one.step, one.value) for one in history] == _series(client, trial.id, metric, layer)
    with pytest.raises(Exception, match="already"):
        nfa(where, "--to", "mlflow")


def test_tensorboards_own_reader_reads_every_point(client: Client, nfa: Callable[..., Any], tmp_path: Path) -> None:
    assert nfa(str(tmp_path / "logs"), "--to", "tensorboard")["runs"] == 6
    folders = sorted((tmp_path / "logs" / "e1").iterdir())
    assert folders[0].name == "t1_weight_decay_0.0_seed_0" and len(folders) == 6
    for folder in folders:
        trial = folder.name.partition("_")[0]
        reader = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        for name, metric, layer in (("train_loss", "train_loss", 1), ("alignment/layer_2", "alignment", 2)):
            found = [(one.step, one.value) for one in reader.Scalars(name)]
            expected = _series(client, trial, metric, layer)
            # float32 is all that a scalar of TensorBoard holds
            assert found == [(step, struct.unpack("<f", struct.pack("<f", value))[0]) for step, value in expected]
    with pytest.raises(Exception, match="already"):
        nfa(str(tmp_path / "logs"), "--to", "tensorboard")


def test_a_layers_name_stands_beside_its_number_where_it_has_one(client: Client, tmp_path: Path) -> None:
    assert "layer_name" not in client.sweep("e1").columns and "layer_name" not in client.sweep("e2", level="network")
    table = client.sweep("e2")
    columns = ["trial_id", "seed", "network.kind", "step", "time", "layer", "layer_name"]
    assert table.columns[:7] == columns and table.schema["layer_name"] == pl.String
    found = table.select("network.kind", "layer", "layer_name").unique().sort("network.kind", "layer").rows()
    assert found == [("mlp", 1, None), ("mlp", 2, None), ("resmlp", 1, "linear1"), ("resmlp", 2, "linear2")]
    client.export("e2", tmp_path / "sweep.csv")
    assert pl.read_csv(tmp_path / "sweep.csv")["layer_name"].to_list() == table["layer_name"].to_list()
    first, second = ([one for one in run.series if one.startswith("alig")] for run in read_runs(client, "e2"))
    assert first == ["alignment/layer_1", "alignment/layer_2"]
    assert second == ["alignment/layer_1_linear1", "alignment/layer_2_linear2"]


def test_checksums_are_those_of_crc_32c() -> None:
    # the check value of CRC-32C is E3069283 (RFC 3720, appendix B.4); record files rotate it and add a constant
    crc = 0xE3069283
    assert masked(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_without_mlflow_a_folder_is_written_and_an_address_says_what_to_install(
    nfa: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    assert nfa(str(tmp_path / "runs"), "--to", "mlflow")["runs"] == 6
    with pytest.raises(Exception, match="pip install mlflow-skinny"):
        nfa("https://mlflow.example", "--to", "mlflow")
