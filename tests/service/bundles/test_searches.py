"""A study that searched is a bundle that verifies, and is brought in with the rounds that it took."""

import pytest
from fastapi.testclient import TestClient
from training_here import train_everything

from service.bundles.importing import import_bundle
from service.bundles.opening import opened
from service.bundles.study import Said, study_of
from service.bundles.verifying import verify
from service.bundles.writing import bundle
from service.errors import Conflict
from service.grid.fitting import Limits
from service.main import create_app
from service.settings import Settings
from service.store import experiments, rounds, schema, submissions
from service.store.expansions import expanded
from service.store.found import found_by
from service.store.session import open_store

SAID = Said("Where it turns", ("Ada Lovelace",), "CC-BY-4.0", with_figures=False)


def test_the_trials_that_a_search_added_are_those_of_its_rounds(store, tiny_grid, tmp_path):
    grid = tiny_grid(
        axes={"training.weight_decay": [0.01, 1.0]},
        refine={"axis": "training.weight_decay", "where": "training.weight_decay < 0.3", "tolerance": 0.1},
        seeds={"until": {"metric": "train_loss", "ci95": 0.5}, "at_least": 2, "at_most": 4},
    )
    one = submissions.create_experiment(store, expanded(store, grid, Limits()), document=grid, owner="ada").id
    train_everything(store)
    with pytest.raises(Conflict, match="not ended"):
        study_of(store, [one], SAID)
    while rounds.add_rounds(store, Limits()):
        train_everything(store)
    file = tmp_path / "study.zip"
    file.write_bytes(b"".join(bundle(store, study_of(store, [one], SAID))))
    with opened(file) as study, open_store(f"sqlite:///{tmp_path / 'other.db'}") as other:
        checks = list(verify(study, Limits(), reruns=2))
        assert [check for check in checks if not check.holds] == []
        schema.upgrade(other)
        (imported,) = import_bundle(other, study, Limits())
        assert imported.trials == sum(experiments.get_experiment(store, one).counts.values()) > 4
        assert experiments.get_experiment(other, imported.id).state == "completed"
        assert rounds.add_rounds(other, Limits()) == 0
        assert found_by(other, imported.id) == found_by(store, one)
        assert [part.additions for part in rounds.rounds_made(other, imported.id).rounds] == [
            part.additions for part in rounds.rounds_made(store, one).rounds
        ]
        for question in ("fits", "rounds"):
            ours, theirs = _answer(store, one, question), _answer(other, imported.id, question)
            assert ours == theirs and len(ours) > 0, question


def _answer(store, experiment, question):
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        answer = client.get(f"/api/v1/experiments/{experiment}/{question}")
        assert answer.status_code == 200, answer.text
        return answer.json()
