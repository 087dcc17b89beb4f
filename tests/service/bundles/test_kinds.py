"""Every kind of trial survives a bundle: of uploads, diverged, failed, thinned, of a grid that was widened later."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from training_here import train_everything

from service.bundles.importing import import_bundle
from service.bundles.opening import opened
from service.bundles.study import Said, study_of
from service.bundles.verifying import verify
from service.bundles.writing import bundle
from service.grid.fitting import Limits
from service.main import create_app
from service.settings import Settings
from service.store import leases, reports, submissions
from service.store.datasets import add_dataset, get_dataset
from service.store.expansions import expanded
from service.store.reports import End
from service.store.session import Store, open_store
from service.store.thinning import thin_experiment

GRAPH = [{"conv": {"channels": 2, "kernel": 3, "name": "c1"}}, "relu", "flatten", {"linear": {"name": "head"}}]
DATA, WEIGHTS = "a" * 64, "b" * 64
KINDS: dict[str, dict[str, Any]] = {
    "uploaded data": {"data": {"kind": "uploaded", "dataset_id": DATA}},
    "uploaded weights": {"init": {"scheme": "given", "weights_id": WEIGHTS}},
    "diverges": {"training": {"steps": 20, "learning_rate": 1e6}},
    "named layers": {
        "data": {"kind": "conv_teacher", "samples": 10, "size": 4, "outputs": 2},
        "network": {"kind": "graph", "layers": GRAPH},
        "measure": {"points": 3, "layers": ["c1", "head"], "exponents": [0.25]},
    },
    "gradient flow": {"training": {"optimizer": "gradient_flow"}},
    "float32": {
        "training": {"steps": 20, "dtype": "float32"},
        "network": {"depth": 2, "width": 4, "activation": "relu"},
    },
}
ANYTHING = {"id": "anything", "metric": "train_loss", "any_trial": ">= 0", "gate": "none"}


@pytest.fixture
def there(empty_store: Path, tmp_path: Path, tiny_grid: Callable[..., dict[str, Any]]) -> tuple[Store, list[str]]:
    """A store with an experiment of each kind, one that was widened, thinned and given claims, and a failed one."""
    (tmp_path / "there.db").write_bytes(empty_store.read_bytes())
    chance = np.random.default_rng(0)
    store = open_store(f"sqlite:///{tmp_path / 'there.db'}")
    facts = {"columns": {}, "left_out": [], "notes": [], "losses": []}
    add_dataset(store, DATA, "mine", {"x": chance.random((20, 4)), "y": chance.random((20, 2))}, facts)
    add_dataset(store, WEIGHTS, "w", {"w1": chance.random((4, 4)), "w2": chance.random((2, 4))}, facts)
    ids = []
    for name, own in KINDS.items():
        grid = tiny_grid(name=name, claims=[ANYTHING], seeds=1)
        grid["trial"] = grid["trial"] | own
        ids.append(submissions.create_experiment(store, expanded(store, grid, Limits()), document=grid).id)
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        ids.append(client.post("/api/v1/experiments", json=tiny_grid()).json()["id"])
        more = {"axes": {"training.weight_decay": [0.05]}, "seeds": 4}
        assert client.post(f"/api/v1/experiments/{ids[-1]}/extend", json=more).status_code < 300
        train_everything(store)
        assert client.post(f"/api/v1/experiments/{ids[-1]}/claims", json={"claims": [ANYTHING]}).status_code == 200
    thin_experiment(store, ids[-1], 2)
    grid = tiny_grid(name="fails", seeds=[77], axes={})
    ids.append(submissions.create_experiment(store, expanded(store, grid, Limits()), document=grid).id)
    (one,) = leases.lease_stack(store, "d", lease_seconds=60.0, choose=lambda settings, waiting: 1)
    reports.fail(store, one.trial_id, one.attempt, End(one.trial_id, "failed", None, "it broke", {"torch": "2"}))
    return store, ids


def _trials(store: Store, experiment: str) -> list[tuple[Any, ...]]:
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        items = client.get(f"/api/v1/experiments/{experiment}/trials?limit=1000").json()["items"]
    told = (
        "fingerprint",
        "seed",
        "state",
        "error",
        "last_step",
        "failures",
        "attempt",
        "started_at",
        "ended_at",
        "final",
    )
    kept = [(item["provenance"] or {}).get("kept_every") for item in items]
    return [(*(item[name] for name in told), every) for item, every in zip(items, kept, strict=True)]


def test_every_kind_of_trial_holds_and_is_the_same_in_another_store(
    there: tuple[Store, list[str]], other: Store, tmp_path: Path
) -> None:
    store, ids = there
    file = tmp_path / "kinds.zip"
    with store:
        file.write_bytes(b"".join(bundle(store, study_of(store, ids, Said(with_figures=False)))))
        before = [_trials(store, one) for one in ids]
    with opened(file) as found:
        checks = list(verify(found, Limits()))
        imported = import_bundle(other, found, Limits())
    assert all(one.holds for one in checks), [one for one in checks if not one.holds]
    after = [_trials(other, one.id) for one in imported]
    assert after == before
    states = {state for trials in after for _, _, state, *_ in trials}
    assert states == {"completed", "diverged", "failed"}
    assert {trial[-1] for trial in after[-2]} == {2} and len(after[-2]) == 12
    for sha256 in (DATA, WEIGHTS):
        record = get_dataset(other, sha256)
        assert record.facts is not None and record.facts["notes"] == [f"imported from bundle {found.digest}"]
