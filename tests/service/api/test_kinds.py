"""A network that is no MLP, from its preview to its figures: over REST, by the names of its layers."""

from typing import Any

GRID: dict[str, Any] = {
    "trial": {
        "data": {"kind": "digits", "layout": "image", "samples": 10},
        "network": {"kind": "convnet", "depth": 2, "channels": 2, "activation": "relu"},
        "training": {"steps": 3, "learning_rate": 0.01},
        "measure": {"layers": ["conv1", "linear1"], "points": 2, "weights": [3]},
    },
    "seeds": 2,
}


def test_a_preview_shows_the_graph(api):
    (network,) = api.post("/api/v1/experiments/preview", json=GRID).json()["networks"]
    assert (network["kind"], network["parameters"]) == ("convnet", 2 * 9 + 2 * 10)
    sizes = {"outputs": 2, "inputs": 9, "positions": 64}
    assert network["measured"][0] == {"number": 1, "name": "conv1", **sizes, "role": None}
    again = GRID | {"trial": GRID["trial"] | {"network": {"kind": "graph", "layers": network["layers"]}}}
    (same,) = api.post("/api/v1/experiments/preview", json=again).json()["networks"]
    assert same["measured"] == network["measured"]


def test_a_preview_says_which_widths_grow_under_mup(api):
    trial = GRID["trial"] | {"network": GRID["trial"]["network"] | {"depth": 3, "parameterization": "mup"}}
    (network,) = api.post("/api/v1/experiments/preview", json=GRID | {"trial": trial}).json()["networks"]
    assert [layer["role"] for layer in network["measured"]] == ["input", "hidden", "output"]
    assert network["settings"]["parameterization"] == "mup"


def test_every_question_takes_a_layer_by_name(api, train_queue):
    one = api.post("/api/v1/experiments", json=GRID).json()["id"]
    train_queue()
    root = f"/api/v1/experiments/{one}"
    by_name, by_number = (api.get(f"{root}/results?layer={layer}").json()["items"] for layer in ("linear1", 2))
    assert by_name == by_number and by_name[0]["alignment_count"] == 2
    assert api.get(f"{root}/curves?layer=conv1").json()["items"][0]["alignment_mean"]
    (trial, _) = api.get(f"{root}/trials?where=final.alignment[linear1] > 0").json()["items"]
    assert trial["layers"] == {"1": "conv1", "2": "linear1"} and "layers" not in trial["settings"]
    series = f"/api/v1/trials/{trial['id']}/measurements?metrics=alignment&layer="
    assert api.get(f"{series}linear1").json() == api.get(f"{series}2").json()
    assert "1 (conv1), 2 (linear1)" in api.get(f"{series}conv2").json()["detail"]
    refused = api.get(f"{root}/results?layer=conv2")
    assert refused.status_code == 422 and "there are 1 (conv1), 2 (linear1)" in refused.json()["detail"]
    for page in (f"/experiments/{one}?layer=linear1", f"/trials/{trial['id']}", f"/trials/{trial['id']}?layer=linear1"):
        assert "linear1" in api.get(page).text
    figure = api.get(f"/experiments/{one}/figure.json?layer=linear1").text
    assert "layer linear1" in figure
    weights = api.get(f"/api/v1/trials/{trial['id']}/weights?step=3").content
    assert b"conv1.weight" in weights and b"linear1.weight" in weights


def test_kept_weights_can_be_given_to_the_same_graph(api, train_queue):
    one = api.post("/api/v1/experiments", json=GRID | {"seeds": 1}).json()["id"]
    train_queue()
    trial = api.get(f"/api/v1/experiments/{one}/trials").json()["items"][0]["id"]
    weights = api.get(f"/api/v1/trials/{trial}/weights?step=3").content
    kept = api.post(
        "/api/v1/datasets?name=kept", content=weights, headers={"Content-Type": "application/octet-stream"}
    ).json()
    given: dict[str, Any] = GRID | {
        "trial": GRID["trial"] | {"init": {"scheme": "given", "weights_id": kept["id"]}},
        "seeds": 1,
    }
    two = api.post("/api/v1/experiments", json=given).json()["id"]
    train_queue()
    (first,), (second,) = (api.get(f"/api/v1/experiments/{n}/trials").json()["items"] for n in (one, two))
    series = [api.get(f"/api/v1/trials/{n['id']}/measurements").json()["train_loss"] for n in (first, second)]
    assert series[1][0] == series[0][-1]
    wrong = given | {"trial": given["trial"] | {"network": GRID["trial"]["network"] | {"channels": 3}}}
    refused = api.post("/api/v1/experiments", json=wrong)
    assert (
        refused.status_code == 422
        and "conv1.weight has shape (2, 1, 3, 3), the network needs (3, 1, 3, 3)" in refused.text
    )
