"""Uploads over REST: what became what, refusals before anything is queued, and training on what was uploaded."""

import io
import struct

import numpy as np
import pytest
from sqlalchemy import update

from service.errors import Conflict
from service.grid.expansion import expand
from service.store import datasets
from service.store.models import dataset
from service.store.submissions import create_experiment

ROOT = "/api/v1/datasets"
DRAWN = np.random.default_rng(0)
X, Y, LABELS = DRAWN.normal(size=(24, 3)), DRAWN.normal(size=(24, 2)), np.arange(24) % 3


def npz(**arrays):
    held = io.BytesIO()
    np.savez(held, **arrays)
    return held.getvalue()


@pytest.fixture
def upload(api):
    """Uploads a file and answers the answer."""

    def post(content, media="application/x-npz", **params):
        return api.post(ROOT, params={"name": "mine"} | params, content=content, headers={"content-type": media})

    return post


@pytest.fixture
def preview(api, tiny_grid):
    """Previews tiny trials on a dataset and answers the answer."""

    def post(dataset_id, **sections):
        trial = tiny_grid()["trial"] | {"data": {"kind": "uploaded", "dataset_id": dataset_id}} | sections
        return api.post("/api/v1/experiments/preview", json=tiny_grid(trial=trial))

    return post


def test_the_answer_says_what_became_what_and_keeps_saying_it(api, upload):
    table = "id,x0,x1,y0\n1,2,3,4\n2,5,6,7\n"
    first = upload(table, "text/csv").json()
    assert first["columns"] == {"x": ["x0", "x1"], "y": ["y0"]} and first["left_out"] == ["id"]
    assert first["arrays"] == {"x": [2, 2], "y": [2, 1]} and first["losses"] == []
    assert upload(table, "text/csv").json() == first == api.get(f"{ROOT}/{first['id']}").json()
    assert api.get(ROOT).json()["items"] == [first]


def test_numbers_that_are_no_tokens_of_the_vocabulary_are_refused_before_they_train(upload, preview):
    network = {"kind": "transformer", "depth": 1, "width": 4}

    def refused(rows, vocabulary):
        table = "x0,x1,y0\n" + "\n".join(f"{row},1" for row in rows) + "\n"
        one = upload(table, "text/csv").json()
        data = {"kind": "uploaded", "dataset_id": one["id"], "vocabulary": vocabulary}
        answer = preview(one["id"], data=data, network=network).json()
        return one["tokens"], answer.get("errors", [{}])[0].get("message", "")

    assert refused(["0,4", "2,1"], 5) == (5, "")
    assert refused(["0,4", "2,1"], 4) == (5, "x holds the token 4, and tokens are below the vocabulary: give 5 or more")
    for rows in (["0,4", "2,1.5"], ["0,4", "-1,2"]):
        assert refused(rows, 9) == (
            None,
            "says that x is tokens, whole numbers from 0; the dataset's x has others",
        )
    one = upload("x0,x1,y0\n1,2,3\n", "text/csv").json()
    told = preview(one["id"], network=network).json()["errors"][0]
    assert told["path"] == "trial.network.kind"
    assert "received are samples of shape (2,); of uploads data.vocabulary says" in told["message"]


def test_a_mapping_is_part_of_what_a_dataset_is(upload):
    table = "a,b,year\n1,2,3\n4,5,6\n"
    refused = upload(table, "text/csv")
    assert refused.status_code == 422 and "?x=a,b&y=year" in refused.json()["detail"]
    one = upload(table, "text/csv", x="a,b", y="year")
    other = upload(table, "text/csv", x=["b", "a"], y="year")
    assert one.status_code == other.status_code == 201 and one.json()["id"] != other.json()["id"]
    assert other.json()["columns"] == {"x": ["b", "a"], "y": ["year"]}
    again = upload(table, "text/csv", x="a,b", y="year")
    assert again.status_code == 200 and again.json() == one.json()


def test_every_kind_of_body_over_the_limit_is_told_what_fits(api, upload):
    told = upload(b"0" * 300_000).json()["detail"]
    assert "300,000 bytes" in told and "262144 bytes" in told and "87% of its rows" in told
    assert "upload" not in api.post("/api/v1/experiments", content=b"0" * 300_000).json()["detail"]


@pytest.mark.parametrize(
    ("y", "loss", "told"),
    [
        (LABELS[:, None], "cross_entropy", "?targets=classes"),
        (LABELS[:, None], "logistic", "?targets=classes"),
        (Y, "cross_entropy", "one-hot rows"),
        (Y, "logistic", "numbers in [0, 1]"),
        (np.eye(3)[LABELS] * 2 - 1, "cross_entropy", "one-hot rows"),
    ],
)
@pytest.mark.parametrize("is_old", [False, True])
def test_a_loss_that_cannot_read_the_targets_is_refused_before_a_trial_is_queued(
    store, upload, preview, y, loss, told, is_old
):
    made = upload(npz(x=X, y=y)).json()["id"]
    if is_old:
        with store.write() as connection:
            connection.execute(update(dataset).values(facts=None))
    answer = preview(made, training={"steps": 5, "loss": loss})
    assert answer.status_code == 422 and told in answer.json()["detail"]
    assert [one["path"] for one in answer.json()["errors"]] == ["trial.training.loss"]
    assert preview(made).status_code == 200


@pytest.mark.parametrize("loss", ["cross_entropy", "logistic", "half"])
@pytest.mark.parametrize("x", [X, X.reshape(24, 1, 3), DRAWN.normal(size=(24, 2, 3, 3))])
def test_networks_train_on_labels_and_images_as_on_one_hot_rows_of_numbers(
    api, upload, submit, train_queue, tiny_grid, x, loss
):
    flat = x.reshape(24, -1)
    ends = []
    for content in (npz(x=x, y=LABELS), npz(x=flat, y=np.eye(3)[LABELS])):
        made = upload(content).json()
        data = {"kind": "uploaded", "dataset_id": made["id"]}
        trial = tiny_grid()["trial"] | {"data": data, "training": {"steps": 5, "loss": loss}}
        one = submit(trial=trial, axes={}, seeds=1)["id"]
        train_queue()
        (item,) = api.get(f"/api/v1/experiments/{one}/trials").json()["items"]
        assert item["state"] == "completed"
        ends.append(item["final"])
    assert ends[0] == ends[1]


@pytest.mark.parametrize("bias", [False, True])
def test_kept_weights_go_back_as_the_file_they_came_as(api, upload, submit, train_queue, bias):
    network = {"depth": 2, "width": 3, "bias": bias}
    trial = {"network": network, "training": {"steps": 20}, "measure": {"points": 3, "weights": [20]}}
    one = submit(trial=trial, axes={}, seeds=1)["id"]
    train_queue()
    (before,) = api.get(f"/api/v1/experiments/{one}/trials").json()["items"]
    file = api.get(f"/api/v1/trials/{before['id']}/weights").content
    for media in ("application/vnd.safetensors", "application/octet-stream"):
        made = upload(file, media).json()
        assert set(made["arrays"]) == ({"w1", "w2", "b1", "b2"} if bias else {"w1", "w2"})
    given = {"init": {"scheme": "given", "weights_id": made["id"]}, "training": {"steps": 0}}
    other = submit(trial=trial | given | {"measure": {}}, axes={}, seeds=1)["id"]
    train_queue()
    (after,) = api.get(f"/api/v1/experiments/{other}/trials").json()["items"]
    assert after["final"]["train_loss"] == pytest.approx(before["final"]["train_loss"], rel=1e-12)


def test_weights_with_biases_are_taken_as_they_are_handed_out(store, upload):
    header = (
        b'{"w1": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},'
        b' "b1": {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]}}'
    )
    content = struct.pack("<Q", len(header)) + header + np.arange(8, dtype="<f4").tobytes()
    made = upload(content, "application/vnd.safetensors").json()
    assert made["arrays"] == {"w1": [2, 3], "b1": [2]}
    kept = datasets.arrays_for(store, [{"data": {}, "init": {"weights_id": made["id"]}}])[made["id"]]
    assert kept["w1"].tolist() == [[0, 1, 2], [3, 4, 5]] and kept["b1"].tolist() == [6, 7]


def test_a_dataset_is_deleted_once_no_trial_uses_it(api, upload, submit, tiny_grid):
    data = upload(npz(x=X, y=Y)).json()["id"]
    weights = upload(npz(w1=np.ones((4, 3)), w2=np.ones((2, 4)))).json()["id"]
    trial = tiny_grid()["trial"] | {"data": {"kind": "uploaded", "dataset_id": data}}
    plain = submit(trial=trial)["id"]
    given = submit(trial=trial | {"init": {"scheme": "given", "weights_id": weights}})["id"]
    for one, users in ((data, (plain, given)), (weights, (given,))):
        refused = api.delete(f"{ROOT}/{one}")
        assert refused.status_code == 409 and refused.json()["code"] == "conflict"
        assert f"{', '.join(users)}:" in refused.json()["detail"]
    for experiment in (given, plain):
        assert api.delete(f"/api/v1/experiments/{experiment}").status_code == 204
    for one in (data, weights):
        assert api.delete(f"{ROOT}/{one}").status_code == 204
        assert api.delete(f"{ROOT}/{one}").json()["code"] == "not_found"
    assert api.get(ROOT).json()["items"] == []


def test_a_dataset_deleted_between_check_and_submission_is_missed_then(store, upload, tiny_grid):
    made = upload(npz(x=X, y=Y)).json()["id"]
    trial = tiny_grid()["trial"] | {"data": {"kind": "uploaded", "dataset_id": made}}
    expansion = expand(tiny_grid(trial=trial), datasets=datasets.dataset_shapes(store, [made]))
    datasets.delete_dataset(store, made)
    with pytest.raises(Conflict, match="deleted at the same moment"):
        create_experiment(store, expansion)


def test_percent_signs_and_unknown_ids_delete_nothing(api, upload):
    made = upload(npz(x=X, y=Y)).json()["id"]
    for wrong in ("%25", "_" * 64, made[:12], "abc"):
        assert api.delete(f"{ROOT}/{wrong}").status_code == 404
    assert len(api.get(ROOT).json()["items"]) == 1


def test_uploads_of_one_owner_have_room_together(upload, api):
    def sent(number):
        return upload(npz(x=np.full((1_000, 20), number), y=np.full((1_000, 1), number)))

    answers = [sent(number) for number in range(7)]
    assert [answer.status_code for answer in answers] == [201] * 6 + [413]
    problem = answers[-1].json()
    assert problem["code"] == "uploads_full" and "6 uploads of local hold" in problem["detail"]
    first = answers[0].json()
    assert (first["owner"], first["bytes"] // 1_000) == ("local", 168)
    assert api.delete(f"{ROOT}/{first['id']}").status_code == 204
    assert sent(6).status_code == 201
