"""Weights kept along the way, as .safetensors files."""

import io
import json
import struct

import numpy as np
import pytest
import safetensors.numpy

from service.client import Client, ClientError

TRIAL = {
    "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
    "network": {"depth": 2, "width": 3},
    "training": {"steps": 20},
    "measure": {"points": 5, "weights": [0, 5, 20]},
}


def read(content):
    """Arrays of a .safetensors file, by its definition."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0 and header.pop("__metadata__")["step"].isdigit()
    data = content[8 + length :]
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], {"F64": "<f8", "F32": "<f4"}[entry["dtype"]]).reshape(
            entry["shape"]
        )
        for name, entry in header.items()
    }


def listed(api, experiment):
    return api.get(f"/api/v1/experiments/{experiment}/trials").json()["items"]


@pytest.mark.parametrize("network", [{}, {"bias": True}])
def test_weights_are_kept_where_asked_and_have_the_measured_norm(api, submit, train_queue, network):
    made = submit(trial=TRIAL | {"network": TRIAL["network"] | network}, seeds=2)["id"]
    train_queue()
    for one in listed(api, made):
        path = f"/api/v1/trials/{one['id']}"
        series = api.get(f"{path}/measurements").json()
        for step in (0, 5, 20):
            found = api.get(f"{path}/weights", params={"step": step})
            arrays = read(found.content)
            shapes = {"w1": (3, 4), "w2": (2, 3)} | ({"b1": (3,), "b2": (2,)} if network else {})
            assert {name: array.shape for name, array in arrays.items()} == shapes
            if step in series["step"]:
                norm = np.sqrt(sum(float((arrays[name] ** 2).sum()) for name in ("w1", "w2")))
                assert norm == pytest.approx(series["weight_norm"][series["step"].index(step)], rel=1e-12)
        last = api.get(f"{path}/weights")
        assert last.content == found.content and f"{one['id']}-20." in last.headers["content-disposition"]
        again = api.get(f"{path}/weights", headers={"If-None-Match": last.headers["etag"]})
        assert again.status_code == 304


def test_a_step_that_was_not_kept_is_answered_with_those_that_were(api, submit, train_queue):
    made = submit(trial=TRIAL, seeds=1)["id"]
    one = listed(api, made)[0]["id"]
    early = api.get(f"/api/v1/trials/{one}/weights").json()
    assert early["code"] == "weights_not_kept" and "measure.weights" in early["detail"]
    train_queue()
    missing = api.get(f"/api/v1/trials/{one}/weights", params={"step": 7})
    assert missing.status_code == 404 and missing.json()["code"] == "weights_not_kept"
    assert "0, 5, 20" in missing.json()["detail"]
    assert api.get("/api/v1/trials/t99/weights").json()["code"] == "not_found"


def test_kept_weights_begin_the_same_network_when_uploaded(api, submit, train_queue):
    made = submit(trial=TRIAL, axes={}, seeds=1)["id"]
    train_queue()
    one = listed(api, made)[0]
    arrays = read(api.get(f"/api/v1/trials/{one['id']}/weights", params={"step": 20}).content)
    file = io.BytesIO()
    np.savez(file, **arrays)
    uploaded = api.post(
        "/api/v1/datasets", params={"name": "w"}, content=file.getvalue(), headers={"Content-Type": "application/x-npz"}
    ).json()
    trial = TRIAL | {"init": {"scheme": "given", "weights_id": uploaded["id"]}, "training": {"steps": 0}}
    other = submit(trial=trial | {"measure": {}}, axes={}, seeds=1)["id"]
    train_queue()
    assert listed(api, other)[0]["final"]["train_loss"] == pytest.approx(one["final"]["train_loss"], rel=1e-12)


def test_keeping_weights_changes_no_measurement(api, submit, train_queue):
    plain = TRIAL | {"measure": {"points": 5}}
    numbers = []
    for trial in (TRIAL, plain):
        made = submit(trial=trial, seeds=2)["id"]
        train_queue()
        rows = [api.get(f"/api/v1/trials/{one['id']}/measurements").json() for one in listed(api, made)]
        numbers.append(rows)
    assert numbers[0] == numbers[1]


def test_deleting_an_experiment_deletes_its_weights(api, submit, train_queue, store):
    made = submit(trial=TRIAL, seeds=1)["id"]
    train_queue()
    assert api.delete(f"/api/v1/experiments/{made}").status_code == 204
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM kept_weights").scalar() == 0


def test_gradient_flow_keeps_weights_at_the_numbers_of_its_measured_times(api, submit, train_queue):
    training = {"optimizer": "gradient_flow", "horizon": 1.0}
    made = submit(trial=TRIAL | {"training": training, "measure": {"points": 4, "weights": [0, 2]}}, seeds=1)["id"]
    train_queue()
    one = listed(api, made)[0]
    series = api.get(f"/api/v1/trials/{one['id']}/measurements").json()
    for step in (0, 2):
        arrays = read(api.get(f"/api/v1/trials/{one['id']}/weights", params={"step": step}).content)
        norm = np.sqrt(sum(float((array**2).sum()) for array in arrays.values()))
        assert norm == pytest.approx(series["weight_norm"][series["step"].index(step)], rel=1e-12)


def test_the_client_reads_weights_as_arrays_and_as_a_file_that_others_read(api, submit, train_queue, port, tmp_path):
    made = submit(trial=TRIAL, seeds=1)["id"]
    train_queue()
    one = listed(api, made)[0]["id"]
    with Client(f"http://127.0.0.1:{port}") as client:
        last, first = client.weights(one), client.weights(one, step=0)
        assert {name: array.shape for name, array in last.items()} == {"w1": (3, 4), "w2": (2, 3)}
        assert not np.array_equal(first["w1"], last["w1"])
        file = client.download_weights(one, tmp_path / "w.safetensors")
        with pytest.raises(ClientError, match="0, 5, 20"):
            client.weights(one, step=7)
    loaded = safetensors.numpy.load_file(file)
    assert {name: array.tobytes() for name, array in loaded.items()} == {n: a.tobytes() for n, a in last.items()}
