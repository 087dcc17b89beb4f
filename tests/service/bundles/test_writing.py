"""What a bundle holds, and that it is whole or nothing."""

import hashlib
import io
import json
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from cff_format import assert_citable
from fastapi.testclient import TestClient

from service.bundles import layout
from service.bundles.study import Said, study_of
from service.bundles.tables import is_metric
from service.bundles.versions import TrainedWith, versions
from service.bundles.writing import bundle
from service.client import Client, ClientError
from service.errors import Conflict
from service.grid.expansion import expand
from service.main import create_app
from service.settings import Settings
from service.store import submissions
from service.store.experiments import get_experiment
from service.store.session import Store
from service.store.verdicts import judged


@pytest.fixture
def archive(handed: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(handed)


def test_every_file_is_named_explained_and_summed(archive: zipfile.ZipFile, tmp_path: Path) -> None:
    names = archive.namelist()
    assert archive.testzip() is None and len(names) == len(set(names))
    assert all(layout.NAME.fullmatch(name) for name in names)
    for one in ("e1", "e2"):
        for name in (
            layout.GRID,
            layout.EXPERIMENT,
            layout.VERDICTS,
            layout.TRIALS,
            layout.MEASUREMENTS,
            layout.FINALS,
        ):
            assert f"{one}/{name}" in names
    readme = archive.read(layout.README).decode()
    table = re.findall(r"^\| (\S+) \| [\d,]* ?\| \S", readme.partition("## Files")[2], re.M)
    assert set(table) >= {name for name in names if not name.startswith("weights/")}
    columns = re.findall(r"^\| (\S+) \| .+ \| .* \|$", readme.partition("## Columns")[2], re.M)
    measured = pl.read_parquet(io.BytesIO(archive.read("e1/measurements.parquet"))).columns
    assert set(columns) - {"column", "---"} == {name for name in measured if is_metric(name)}
    assert "weights/t1/20.safetensors" in names and "weights/TRIAL/STEP.safetensors" in readme
    archive.extractall(tmp_path / "out")
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", layout.SUMS],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
        check=True,
    )
    assert checked.stdout.count(": OK") == len(names) - 1


def test_tables_hold_what_the_store_holds(written: Path, store: Store) -> None:
    archive = zipfile.ZipFile(written)
    table = pl.read_parquet(io.BytesIO(archive.read("e1/measurements.parquet")))
    # 2 decays x 3 seeds, 5 points, 2 layers
    assert table.height == 2 * 3 * 5 * 2
    assert {"training.weight_decay", "alignment@0.25", "agop_singular_value@1", "train_loss"} <= set(table.columns)
    finals = pl.read_parquet(io.BytesIO(archive.read("e1/finals.parquet")))
    assert finals.height == 12 and set(finals["step"]) == {20} and finals.columns == table.columns
    trials = [json.loads(line) for line in archive.read("e2/trials.ndjson").splitlines()]
    assert len(trials) == 8 and {one["state"] for one in trials} == {"completed"}
    assert len({one["fingerprint"] for one in trials}) == 8
    assert not {"host", "node", "dispatcher"} & set().union(*(one["provenance"] or {} for one in trials))
    verdicts = json.loads(archive.read("e1/verdicts.json"))
    assert [one["id"] for one in verdicts] == ["fits", "rate", "aligned"]
    assert [one["worst"] for one in verdicts] == [one["worst"] for one in judged(store, get_experiment(store, "e1"))]


def test_it_says_on_what_trials_were_trained() -> None:
    trained = TrainedWith()
    for processor in ("AMD EPYC", "AMD EPYC", "aarch64", None):
        told = {"processor": processor} if processor else {}
        trained.add({"torch": "2.13.0", "device": "cpu", "host": "a-name", **told})
    trained.add(None)
    found = versions(trained)["trained_with"]
    assert [(one["processor"], one["device"], one["trials"]) for one in found] == [
        ("AMD EPYC", "cpu", 2),
        ("aarch64", "cpu", 1),
        (None, "cpu", 1),
    ]
    assert "a-name" not in str(found)


def test_it_says_how_to_be_cited(archive: zipfile.ZipFile) -> None:
    cff = yaml.safe_load(archive.read(layout.CITATION))
    assert_citable(cff)
    assert cff["type"] == "dataset" and cff["title"] == "On small networks"
    assert cff["authors"] == [{"name": "Ada Lovelace"}] and cff["license"] == "CC-BY-4.0"
    assert "10.48550/arXiv.2510.15563" in str(cff["references"])
    bibtex = archive.read(layout.REFERENCES).decode()
    assert len(re.findall(r"^@", bibtex, re.M)) == 1 + len(cff["references"])
    assert bibtex.count("{") == bibtex.count("}")


def test_a_study_that_has_not_ended_is_no_bundle(other: Store, tiny_grid: Callable[..., dict[str, Any]]) -> None:
    made = submissions.create_experiment(other, expand(tiny_grid())).id
    with TestClient(create_app(Settings(), other), base_url="http://127.0.0.1") as client:
        refused = client.get(f"/api/v1/experiments/{made}/bundle")
    assert refused.status_code == 409 and f"{made} has trials that have not ended" in refused.json()["detail"]


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_study_that_changes_while_it_is_written_is_broken_off(store: Store, studied: list[str]) -> None:
    parts = bundle(store, study_of(store, studied[:1], Said(with_figures=False)))
    begun = [next(parts)]
    claims = [{"id": "late", "metric": "train_loss", "every_trial": ">= 0"}]
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        assert client.post(f"/api/v1/experiments/{studied[0]}/claims", json={"claims": claims}).status_code == 200
    with pytest.raises(Conflict, match="while the bundle was written"):
        begun.extend(parts)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(b"".join(begun)))


def test_it_is_answered_over_rest_with_its_figures(small_study: tuple[Store, list[str]]) -> None:
    store, studied = small_study
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        address = f"/api/v1/experiments/{studied[0]}/bundle"
        answer = client.get(address, params={"title": "T", "author": ["A B", "C D"]})
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
        assert 'filename="e1-bundle.zip"' in answer.headers["content-disposition"]
        archive = zipfile.ZipFile(io.BytesIO(answer.content))
        about = json.loads(archive.read(layout.ABOUT))
        assert about["experiments"] == ["e1"] and about["authors"] == ["A B", "C D"] and about["license"] is None
        names = archive.namelist()
        assert not [name for name in names if name.startswith("weights/")]
        figures = {name.removesuffix(".pdf") for name in names if name.endswith(".pdf")}
        assert figures == {f"e1/figures/{kind}" for kind in ("curves", "imbalance", "exponent", "profile", "spectra")}
        for figure in figures:
            assert archive.read(f"{figure}.pdf").startswith(b"%PDF")
            assert "vega-lite" in json.loads(archive.read(f"{figure}.vl.json"))["$schema"]
        assert client.get("/api/v1/experiments/e9/bundle").status_code == 404
        assert client.get(address, params={"author": ""}).json()["code"] == "invalid_request"


def test_the_same_study_makes_the_same_archive(small_study: tuple[Store, list[str]]) -> None:
    store, studied = small_study
    study = study_of(store, studied, Said(with_figures=False))
    first, second = (hashlib.sha256(b"".join(bundle(store, study))).hexdigest() for _ in range(2))
    assert first == second


def test_the_client_writes_a_file_that_is_whole_and_none_where_the_service_refuses(
    small_study: tuple[Store, list[str]], tmp_path: Path
) -> None:
    store, studied = small_study
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as application, Client() as client:
        client._transport._http = application
        file = tmp_path / "client.zip"
        size = client.bundle(studied[0], file, also=studied[1:], authors=["A", "B"], weights=True, figures=False)
        assert size == file.stat().st_size
        with zipfile.ZipFile(file) as archive:
            assert json.loads(archive.read(layout.ABOUT))["authors"] == ["A", "B"]
            assert not [name for name in archive.namelist() if "figures" in name]
            assert "weights/t1/20.safetensors" in archive.namelist() and "e2/grid.json" in archive.namelist()
        with pytest.raises(ClientError, match="no experiment e9"):
            client.bundle(studied[0], tmp_path / "none.zip", also=["e9"])
        assert [one.name for one in tmp_path.glob("*.zip")] == ["client.zip"]
        assert client.bundle(studied[0], str(tmp_path / "named.zip"), figures=False) > 0
        assert client.export(studied[0], str(tmp_path / "named.csv")) > 0
