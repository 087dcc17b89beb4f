"""A study whose kept weights were measured again is a bundle that verifies, reruns included."""

import json
import re

import numpy as np
import pytest
from fastapi.testclient import TestClient
from tampering import tampered
from training_here import measure_everything, train_everything

from service.bundles.importing import import_bundle
from service.bundles.opening import opened
from service.bundles.study import Said, study_of
from service.bundles.verifying import verify
from service.bundles.writing import bundle
from service.errors import InvalidBundle
from service.grid.expansion import expand
from service.grid.fitting import Limits
from service.grid.remeasurement import read_remeasuring
from service.main import create_app
from service.settings import Settings
from service.store import claims, schema, submissions
from service.store.datasets import add_dataset, get_dataset
from service.store.remeasurements import measure_again
from service.store.session import open_store

SAID = Said("Measured again", ("Ada Lovelace",), "CC-BY-4.0", with_weights=True, with_figures=False)
ALL_LAYERS = {"id": "all", "metric": "alignment", "layer": "all", "every_trial": ">= 0", "gate": "none"}
LATER = {"id": "later", "metric": "pearson", "every_trial": ">= -1", "gate": "none"}


def test_what_was_measured_again_is_in_the_tables_and_held_to_nobody(store, tiny_grid, tmp_path):
    grid = tiny_grid(claims=[ALL_LAYERS], seeds=2)
    # more steps than measured points, at other steps
    grid["trial"]["measure"] = {"points": 2, "metrics": ["alignment"], "weights": [3, 5, 7, 9, 11, 13, 20]}
    one = submissions.create_experiment(store, expand(grid), document=grid, owner="ada").id
    train_everything(store)
    asked = {"metrics": ["alignment", "pearson", "agop_singular_value@1"], "layers": "all"}
    measure_again(store, one, read_remeasuring(asked).asked())
    measure_everything(store)
    claims.add_claims(store, one, [LATER])
    file = tmp_path / "study.zip"
    file.write_bytes(b"".join(bundle(store, study_of(store, [one], SAID))))
    with opened(file) as opened_bundle:
        checks = list(verify(opened_bundle, Limits(), reruns=2))
        assert [check.what for check in checks if not check.holds] == [], checks
        told = opened_bundle.document(f"{one}/verdicts.json")
    assert [verdict["id"] for verdict in told] == ["all"], "the grid does not measure what the other is about"


UPLOAD = "ab" * 32
ASKED = [
    {"metrics": ["pearson", "agop_singular_value@1"], "layers": "all", "at": [7, 13]},
    {"metrics": ["generalisation_gap", "alignment"], "inputs": ["train", "test", {"dataset": UPLOAD}], "at": "final"},
]
QUESTIONS = [
    "/experiments/{}/measure",
    "/experiments/{}/results?metric=pearson,agop_singular_value@1&layer=2&agg=mean,count&reduce=max",
    "/experiments/{}/results?metric=alignment/test,generalisation_gap&agg=mean,count",
    "/experiments/{}/curves?metric=pearson&layer=2",
    "/experiments/{}/curves?metric=alignment/test",
    f"/experiments/{{}}/curves?metric=alignment/data-{UPLOAD}",
    "/experiments/{}/measurements?format=csv",
    "/experiments/{}/measurements?format=csv&level=network",
    "/experiments/{}/trials?sort=-final.generalisation_gap",
]


def test_what_was_measured_again_is_imported_with_its_trials_and_asked_for_as_before(store, tiny_grid, tmp_path):
    grid = tiny_grid(seeds=2)
    grid["trial"]["measure"] = {"points": 2, "metrics": ["alignment"], "layers": [1], "weights": [7, 13, 20]}
    grid["trial"]["data"] = grid["trial"]["data"] | {"test_samples": 8}
    wider = grid | {"seeds": 3}
    made = [submissions.create_experiment(store, expand(one), document=one).id for one in (grid, wider)]
    train_everything(store)
    add_dataset(store, UPLOAD, "inputs", {"x": np.eye(4)})
    for one, asked in zip(made, ASKED, strict=True):
        measure_again(store, one, read_remeasuring(asked).asked())
    measure_everything(store)
    file = tmp_path / "study.zip"
    file.write_bytes(b"".join(bundle(store, study_of(store, made, SAID))))
    ours = _answers(store, made)
    with open_store(f"sqlite:///{tmp_path / 'other.db'}") as other:
        schema.upgrade(other)
        with opened(file) as opened_bundle:
            imported = [one.id for one in import_bundle(other, opened_bundle, Limits())]
        assert imported == made, "into an empty store"
        for question, theirs, told in zip(QUESTIONS * 2, _answers(other, imported), ours, strict=True):
            assert theirs == told, question
        assert get_dataset(other, UPLOAD).arrays == {"x": [4, 4]}
        asked_again = measure_again(other, made[0], read_remeasuring(ASKED[0]).asked())
        assert (asked_again.trials, asked_again.left_out["already"]["count"]) == (0, 4)


def _answers(store, experiments):
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        answers = [client.get(f"/api/v1{question.format(one)}") for one in experiments for question in QUESTIONS]
        assert [answer.status_code for answer in answers] == [200] * len(answers), [one.text[:200] for one in answers]
        return [_plain(answer) for answer in answers]


def _plain(answer):
    """Trials by their order, which another store keeps; of lists that order alone, not where the trials come from."""
    is_json = answer.headers["content-type"].startswith("application/json")
    found = answer.json() if is_json else answer.text
    if "/trials?" in str(answer.url):
        found = [item["id"] for item in found["items"]]
    text = json.dumps(found, sort_keys=True) if is_json else answer.text
    places = {name: f"trial {place}" for place, name in enumerate(dict.fromkeys(re.findall(r"\bt\d+\b", text)))}
    return re.sub(r"\bt\d+\b", lambda name: places[name[0]], text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda line, about: line["measured_again"][0].update(request="m99"), "names m99, of which e1/experiment.json"),
        (lambda line, about: line["measured_again"][0].update(steps=[-1]), "measured_again.0.steps.0"),
        (lambda line, about: about["measured_again"][0].update(asked={"metrics": ["no_such"]}), "asked.*no_such"),
        (lambda line, about: about["measured_again"][0].update(asked={}), "asked"),
        (lambda line, about: about["measured_again"][0].update(definitions={"pearson": 0}), "definitions"),
    ],
)
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_requests_that_nobody_could_have_made_are_refused(store, tiny_grid, tmp_path, other, change, says):
    grid = tiny_grid(seeds=1, axes={})
    grid["trial"]["measure"] = {"points": 2, "weights": [7]}
    one = submissions.create_experiment(store, expand(grid), document=grid).id
    train_everything(store)
    measure_again(store, one, read_remeasuring({"metrics": ["pearson"]}).asked())
    measure_everything(store)
    file = tmp_path / "study.zip"
    file.write_bytes(b"".join(bundle(store, study_of(store, [one], SAID))))
    with opened(file) as whole:
        line, about = json.loads(whole.path("e1/trials.ndjson").read_text()), whole.document("e1/experiment.json")
    change(line, about)
    wrong = tampered(
        file, {"e1/trials.ndjson": json.dumps(line).encode(), "e1/experiment.json": json.dumps(about).encode()}
    )
    with pytest.raises(InvalidBundle, match=says), opened(wrong) as bundle_of_a_stranger:
        import_bundle(other, bundle_of_a_stranger, Limits())
