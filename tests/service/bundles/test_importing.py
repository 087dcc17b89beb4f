"""A bundle in another store: the same answers to every question, and nothing is trained."""

import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from service.bundles.importing import Imported, import_bundle
from service.bundles.opening import opened
from service.bundles.study import Said, study_of
from service.bundles.writing import bundle
from service.grid.expansion import expand
from service.grid.fitting import Limits
from service.main import create_app
from service.settings import Settings
from service.store import leases, schema, submissions
from service.store.imports import known_states
from service.store.models import trial
from service.store.session import Store, open_store

QUESTIONS = [
    "/experiments/{}",
    "/experiments/{}/trials?limit=1000",
    "/experiments/{}/trials?sort=-final.alignment&where=training.weight_decay > 0",
    "/experiments/{}/results?metric=alignment,train_loss,generalisation_gap,alignment@0.25&agg=mean,std,ci95,count",
    "/experiments/{}/results?group_by=seed,state&metric=agop_singular_value@1&layer=2&reduce=mean_last:2",
    "/experiments/{}/curves?metric=alignment&layer=2",
    "/experiments/{}/curves?metric=generalisation_gap",
    "/experiments/{}/phase?x=training.weight_decay&y=seed",
    "/experiments/{}/phase?x=training.weight_decay&y=network.depth&metric=train_loss&agg=std",
    "/experiments/{}/pooling",
    "/experiments/{}/pooling?group_by=training.weight_decay&where=seed < 2",
    "/experiments/{}/differences",
    "/experiments/{}/verdicts",
    "/experiments/{}/fits",
    "/experiments/{}/rounds",
    "/experiments/{}/measure",
    "/experiments/{}/measurements?format=csv",
    "/experiments/{}/measurements?format=ndjson&level=network",
]
OF_A_TRIAL = ["/trials/{}", "/trials/{}/measurements", "/trials/{}/weights", "/trials/{}/experiments"]
LISTS = ["/experiments", "/experiments?q=wider", "/experiments?state=completed"]
BUNDLE = "/experiments/{}/bundle?figures=false&weights=true"
OF_WHOEVER_WATCHES = {"views", "notifications", "events"}
"""Of an experiment, but of the people at a service: what they look at, whom they tell, and what happens just now."""
MACHINES = {"provenance", "attempts", "owner", "eta_seconds"}
"""What names whoever trained it, which bundles leave out, and where it was imported from."""


def _import(store: Store, file: Path) -> list[Imported]:
    with opened(file) as bundle:
        return import_bundle(store, bundle, Limits(), "grace")


def _answers(store: Store, experiments: list[str], trials: list[str]) -> Iterator[tuple[str, int, Any]]:
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        for one in experiments:
            for question in QUESTIONS:
                answer = client.get(f"/api/v1{question.format(one)}")
                yield question, answer.status_code, _plain(answer.content)
            yield BUNDLE, 200, _contents(client.get(f"/api/v1{BUNDLE.format(one)}").content, one)
        for one in trials:
            for question in OF_A_TRIAL:
                answer = client.get(f"/api/v1{question.format(one)}")
                yield question, answer.status_code, _plain(answer.content)
        for question in LISTS:
            answer = client.get(f"/api/v1{question}")
            yield question, answer.status_code, _plain(answer.content)


def _contents(archive: bytes, experiment: str) -> Any:
    """What a bundle tells of an experiment, by file: tables by column, weights whole."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened_archive:
        files = {name: opened_archive.read(name) for name in opened_archive.namelist()}
    tables = {name: pl.read_parquet(io.BytesIO(content)) for name, content in files.items() if name[-8:] == ".parquet"}
    return {
        "names": [name.removeprefix(experiment) for name in files if not name.startswith("weights/")],
        "weights": [content.decode("latin-1") for name, content in files.items() if name.startswith("weights/")],
        "tables": [table.fill_nan(None).to_dict(as_series=False) for table in tables.values()],
        "grid": json.loads(files[f"{experiment}/grid.json"]),
        "verdicts": json.loads(files[f"{experiment}/verdicts.json"]),
        "trials": [_plain(line) for line in files[f"{experiment}/trials.ndjson"].splitlines()],
    }


def _prints(file: Path) -> list[str]:
    with zipfile.ZipFile(file) as archive:
        return [json.loads(line)["fingerprint"] for line in archive.read("e2/trials.ndjson").splitlines()]


def _trials(store: Store, experiments: list[str]) -> list[str]:
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        answers = [client.get(f"/api/v1/experiments/{one}/trials").json()["items"] for one in experiments]
    return list(dict.fromkeys(trial["id"] for items in answers for trial in items))


def _plain(content: bytes) -> Any:
    """An answer without what names machines; PostgreSQL keeps keys in an order of its own."""
    try:
        found = json.loads(content)
    except ValueError:
        return content.decode("latin-1")

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(inner) for key, inner in value.items() if key not in MACHINES}
        return [without(inner) for inner in value] if isinstance(value, list) else value

    return without(found)


def _named(value: Any, ids: dict[str, str]) -> Any:
    """With the ids that trials have in the other store."""
    if isinstance(value, dict):
        return {key: _named(inner, ids) for key, inner in value.items()}
    if isinstance(value, list):
        return [_named(inner, ids) for inner in value]
    is_text = isinstance(value, str)
    return re.sub(r"\b[te]\d+\b", lambda found: ids.get(found[0], found[0]), value) if is_text else value


def _same(one: Any, other: Any) -> bool:
    """Equal, numbers to 1e-13: PostgreSQL hands rows to a mean in whatever order it has them."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-13, abs_tol=1e-16)
    return one == other


def test_every_question_has_the_same_answer_after_a_bundle_was_imported(
    store: Store, studied: list[str], written: Path
) -> None:
    before = _trials(store, studied)
    answers = list(_answers(store, studied, before))
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        for one in studied:
            assert client.delete(f"/api/v1/experiments/{one}").status_code == 204
    assert _trials(store, []) == [] and known_states(store, _prints(written)) == {}
    imported = _import(store, written)
    assert [(one.source, one.trials, one.reused) for one in imported] == [("e1", 6, 0), ("e2", 8, 6)]
    assert leases.lease_stack(store, "d", lease_seconds=9.0, choose=lambda settings, waiting: 100) == []
    made = [one.id for one in imported]
    after = _trials(store, made)
    ids = dict(zip([*made, *after], [*studied, *before], strict=True))
    for (question, status, ours), (_, _, theirs) in zip(answers, _answers(store, made, after), strict=True):
        assert status == 200, ours
        assert _same(_named(theirs, ids), ours), (question, ours, theirs)


def test_no_answer_about_an_experiment_is_left_out_of_the_comparison(other: Store) -> None:
    asked = {
        question.partition("?")[0].format("{experiment_id}" if question.startswith("/experiments") else "{trial_id}")
        for question in (*QUESTIONS, *OF_A_TRIAL, *LISTS, BUNDLE)
    }
    paths = create_app(Settings(), other).openapi()["paths"]
    routes = {path.removeprefix("/api/v1") for path, operations in paths.items() if "get" in operations}
    about = {path for path in routes if path.startswith(("/experiments", "/trials"))}
    assert about - asked == {f"/experiments/{{experiment_id}}/{name}" for name in OF_WHOEVER_WATCHES}
    assert not asked - about


def test_trials_that_are_there_are_reused_and_the_rest_of_a_wider_grid_alone_is_trained(
    handed: Path, other: Store
) -> None:
    first, again = _import(other, handed), _import(other, handed)
    assert [one.reused for one in again] == [6, 8] and again[0].id != first[0].id
    with other.read() as connection:
        assert connection.scalar(select(func.count()).select_from(trial)) == 8
    with TestClient(create_app(Settings(), other), base_url="http://127.0.0.1") as client:
        wider = client.post(f"/api/v1/experiments/{first[1].id}/extend", json={"seeds": 5}).json()
        assert (wider["trials"]["new"], wider["trials"]["reused"]) == (2, 8)
        one = client.get(f"/api/v1/experiments/{first[0].id}/trials").json()["items"][0]
        assert one["provenance"]["imported_from"].startswith("bundle ")
        assert client.get(f"/api/v1/experiments/{first[0].id}").json()["owner"] == "grace"


def test_what_was_cancelled_here_is_filled_in_and_nobody_waits_for_it(handed: Path, other: Store) -> None:
    with zipfile.ZipFile(handed) as archive:
        grid = json.loads(archive.read("e1/grid.json"))
    waiting = submissions.create_experiment(other, expand(grid), document=grid).id
    with TestClient(create_app(Settings(), other), base_url="http://127.0.0.1") as client:
        assert client.post(f"/api/v1/experiments/{waiting}/cancel").json()["counts"]["cancelled"] == 6
        imported = _import(other, handed)
        counts = client.get(f"/api/v1/experiments/{imported[0].id}").json()["counts"]
        assert counts["completed"] == 6 and imported[0].reused == 6
        assert client.get(f"/api/v1/experiments/{waiting}").json()["counts"]["cancelled"] == 6
    assert leases.lease_stack(other, "d", lease_seconds=9.0, choose=lambda settings, waiting: 100) == []


def test_what_was_cancelled_there_stays_cancelled_until_somebody_retries_it(
    tiny_grid: Callable[..., dict[str, Any]], other: Store, tmp_path: Path
) -> None:
    with open_store(f"sqlite:///{tmp_path / 'there.db'}") as there:
        schema.upgrade(there)
        made = submissions.create_experiment(there, expand(tiny_grid()), document=tiny_grid()).id
        with TestClient(create_app(Settings(), there), base_url="http://127.0.0.1") as client:
            client.post(f"/api/v1/experiments/{made}/cancel")
        file = tmp_path / "cancelled.zip"
        file.write_bytes(b"".join(bundle(there, study_of(there, [made], Said(with_figures=False)))))
    (imported,) = _import(other, file)
    assert leases.lease_stack(other, "d", lease_seconds=9.0, choose=lambda settings, waiting: 100) == []
    with TestClient(create_app(Settings(), other), base_url="http://127.0.0.1") as client:
        assert client.get(f"/api/v1/experiments/{imported.id}").json()["state"] == "cancelled"
        client.post(f"/api/v1/experiments/{imported.id}/retry", json={"which": "cancelled"})
    assert len(leases.lease_stack(other, "d", lease_seconds=9.0, choose=lambda settings, waiting: 100)) == 6
