"""Every wrong grid is refused with the place, what was received and the nearest valid name."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidGrid
from service.grid.document import check_plain
from service.grid.problems import Problems
from service.questions.claimed_grids import ClaimedGrid, read_claimed

NAN, INF = float("nan"), float("inf")


def read(document: Any, datasets: Any = None) -> ClaimedGrid:
    """As the body of a request is read."""
    problems = Problems()
    check_plain(document, problems)
    problems.raise_as(InvalidGrid)
    return read_claimed(document, datasets=datasets)


# document, path of the first entry, words of its message, nearest name
WRONG: list[tuple[Any, str, str, str | None]] = [
    ([], "", "a grid is a mapping", None),
    ({"axs": {}}, "axs", "unknown key", "axes"),
    ({"name": 5}, "name", "valid string", None),
    ({"name": ""}, "name", "at least 1 character", None),
    ({"name": "a\x00b"}, "name", "NUL", None),
    ({"tags": ["\ud800"]}, "tags[0]", "surrogate", None),
    ({"priority": 1.5}, "priority", "valid integer", None),
    ({"trial": 5}, "trial", "must be a mapping", None),
    ({"trial": {"training": {"steps": "20 / 2"}}}, "trial.training.steps", "a formula begins with =", None),
    ({"trial": {"training": {"steps": "data.samples"}}}, "trial.training.steps", "a formula begins with =", None),
    ({"trial": {"training": {"stop": "loss < 1"}}}, "trial.training.stop", "a mapping of loss_below, when", None),
    ({"sample": [1]}, "sample", "must be a mapping", None),
    ({"trial": {"network": {"kind": "resmlp", "norm": "batch"}}}, "trial.network.norm", "lets samples interact", None),
    ({"trial": {"network": {"kind": "resmlp", "norm": "lyer"}}}, "trial.network.norm", "unknown name", "layer"),
    ({"trial": {"network": {"dropout": 0.1}}}, "trial.network.dropout", "measured without noise", None),
    ({"trial": {"network": {"batch_norm": True}}}, "trial.network.batch_norm", "lets samples interact", None),
    (
        {"trial": {"network": {"kind": "graph", "layers": []}}},
        "trial.network.layers",
        "received an empty list, needed is a list of at least one layer",
        None,
    ),
    (
        {"trial": {"network": {"kind": "graph", "layers": ["flaten", {"linear": {}}]}}},
        "trial.network.layers[0]",
        "quadratic; did you mean flatten?",
        None,
    ),
    (
        {"trial": {"network": {"kind": "graph", "layers": [{"linear": {"unit": 3}}, {"linear": {}}]}}},
        "trial.network.layers[0]",
        "received the setting 'unit', allowed are units, name, bias; did you mean units?",
        None,
    ),
    (
        {"trial": {"network": {"kind": "graph", "layers": [None]}}},
        "trial.network.layers[0]",
        "received null, needed is a name",
        None,
    ),
    ({"trial": {"trainin": {}}}, "trial.trainin", "unknown key", "training"),
    ({"trial": {"training": 5}}, "trial.training", "must be a mapping", None),
    ({"trial": {"training": {"learningrate": 1}}}, "trial.training.learningrate", "unknown", "training.learning_rate"),
    ({"trial": {"training": {"learning_rate": "fast"}}}, "trial.training.learning_rate", "valid number", None),
    ({"trial": {"training": {"learning_rate": True}}}, "trial.training.learning_rate", "valid number", None),
    ({"trial": {"training": {"learning_rate": NAN}}}, "trial.training.learning_rate", "finite", None),
    ({"trial": {"training": {"learning_rate": 10**400}}}, "trial.training.learning_rate", "number", None),
    ({"trial": {"training": {"learning_rate": 0}}}, "trial.training.learning_rate", "greater than 0", None),
    ({"trial": {"training": {"steps": 10.5}}}, "trial.training.steps", "integer", None),
    ({"trial": {"training": {"steps": 99_999_999}}}, "trial.training.steps", "over the limit", None),
    (
        {"trial": {"network": {"parameterization": "?"}}},
        "trial.network.parameterization",
        "there are standard, ntk",
        None,
    ),
    ({"axes": {"seed": [0, 1]}}, "axes.seed", "write seeds, a list or how many, beside axes", None),
    ({"axes": {"?": [1]}}, "axes.?", "paths such as network.depth", None),
    ({"trial": {"training": {"optimizer": "admw"}}}, "trial.training.optimizer", "unknown name", "adamw"),
    ({"trial": {"training": {"optimizer": "sgd"}}}, "trial.training", "sgd needs a batch_size", None),
    ({"trial": {"training": {"batch_size": 5}}}, "trial.training", "gd takes no batch_size", None),
    ({"trial": {"training": {"huber_delta": 0}}}, "trial.training.huber_delta", "greater than 0", None),
    ({"trial": {"training": {"label_smoothing": 1}}}, "trial.training.label_smoothing", "less than 1", None),
    (
        {"trial": {"training": {"stop": {"loss_bellow": 1}}}},
        "trial.training.stop.loss_bellow",
        "unknown key",
        "training.stop.loss_below",
    ),
    ({"trial": {"data": {"spectrum": [1, 1, 1, 1, 1]}}}, "trial.data", "5 singular values", None),
    ({"trial": {"data": {"spectrum": {"log": [0, 1, 3]}}}}, "trial.data.spectrum", "positive", None),
    ({"trial": {"data": {"spectrum": [1, "a"]}}}, "trial.data.spectrum[1]", "valid number", None),
    ({"trial": {"data": {"covariance": [1, 2]}}}, "trial.data", "2 variances, but there are 10 inputs", None),
    ({"trial": {"data": {"covariance": "whitened", "samples": 5}}}, "trial.data", "at least as many samples", None),
    ({"trial": {"data": {"kind": "linear_techer"}}}, "trial.data.kind", "unknown name", "linear_teacher"),
    ({"trial": {"data": {"kind": "uploaded"}}}, "trial.data", "needs dataset_id", None),
    ({"trial": {"data": {"kind": "uploaded", "dataset_id": "x"}}}, "trial.data.dataset_id", "no such dataset", None),
    ({"trial": {"network": {"width": [4]}}}, "trial.network", "width lists 1 hidden layers, but depth 3", None),
    ({"trial": {"network": {"width": [4, "b"]}}}, "trial.network.width[1]", "valid integer", None),
    (
        {"trial": {"data": {"samples": 1_000_000}, "network": {"width": 500, "activation": "relu"}}},
        "trial.data.samples",
        "over the limit of 4294967296",
        None,
    ),
    ({"trial": {"network": {"width": 65_000}}}, "trial.network.width", "over the limit of 10000000", None),
    ({"trial": {"network": {"depth": 65}}}, "trial.network.depth", "less than or equal to 64", None),
    ({"trial": {"network": {"bias": "no"}}}, "trial.network.bias", "valid boolean", None),
    ({"trial": {"init": {"scheme": "given"}}}, "trial.init", "needs weights_id", None),
    ({"trial": {"init": {"scheme": "given", "weights_id": "x"}}}, "trial.init.weights_id", "no such dataset", None),
    ({"trial": {"init": {"scheme": "layer_scales"}, "network": {"depth": 1}}}, "trial.init.scheme", "depth 2", None),
    ({"trial": {"measure": {"layers": [1, 4]}}}, "trial.measure.layers", "layer 4 does not exist", None),
    ({"trial": {"measure": {"points": 5, "every": 5}}}, "trial.measure", "give one of points, every", None),
    ({"trial": {"measure": {"metrics": ["alignmnt"]}}}, "trial.measure.metrics[0]", "unknown name", "alignment"),
    ({"trial": {"measure": {"weights": [6001]}}}, "trial.measure.weights", "never reached", None),
    ({"axes": {"training.learningrate": [1]}}, "axes.training.learningrate", "unknown", "training.learning_rate"),
    ({"axes": {"learning_rate": [1]}}, "axes.learning_rate", "unknown path", "training.learning_rate"),
    ({"axes": {"training.learning_rate": []}}, "axes.training.learning_rate", "at least one value", None),
    ({"axes": {"training.learning_rate": 0.1}}, "axes.training.learning_rate", "needs a list", None),
    ({"axes": {"training.learning_rate": {"log": [1, 2]}}}, "axes.training.learning_rate", "[from, to, count]", None),
    ({"axes": {"training.learning_rate": [0.1, 0.2, 0.3, "x"]}}, "axes.training.learning_rate[3]", "number", None),
    ({"axes": {"training.learning_rate": [0.1, INF]}}, "axes.training.learning_rate[1]", "finite", None),
    ({"axes": {"training": [{"stepz": 5}]}}, "axes.training[0].stepz", "unknown key", "training.steps"),
    ({"axes": {"training": [5]}}, "axes.training[0]", "must be a mapping", None),
    ({"axes": {"network.depth": [1, 2], "measure.layers": [[2]]}}, "axes.measure.layers[0]", "does not exist", None),
    ({"axes": {"training": [{"steps": 1}], "training.steps": [1]}}, "axes.training.steps", "varied by", None),
    ({"axes": {"network.depth": [1]}, "zip": [{"network.depth": [1]}]}, "zip[0].network.depth", "varied by", None),
    ({"zip": [{"network.depth": [1, 2], "training.steps": [1]}]}, "zip[0]", "equally long", None),
    ({"zip": [{}]}, "zip[0]", "mapping of dotted paths", None),
    ({"zip": [{"network.dept": [1]}]}, "zip[0].network.dept", "unknown path", "network.depth"),
    ({"exclude": [{"network.dpth": 1}]}, "exclude[0].network.dpth", "unknown path", "network.depth"),
    ({"exclude": [{}]}, "exclude[0]", "names no path", None),
    ({"exclude": [{"network.depth": 3}]}, "exclude", "no point is left", None),
    ({"include": [5]}, "include[0]", "mapping of dotted paths", None),
    ({"include": [{"network.depth": "x"}]}, "include[0].network.depth", "valid integer", None),
    ({"seeds": 0}, "seeds", "at least one seed", None),
    ({"seeds": []}, "seeds", "at least one seed", None),
    ({"seeds": -1}, "seeds", "at least one seed", None),
    ({"seeds": 10**9}, "seeds", "over the limit", None),
    ({"seeds": [1, 2, 1]}, "seeds[2]", "same as seeds[0]", None),
    ({"seeds": [-1]}, "seeds[0]", "greater than or equal to 0", None),
    ({"seeds": "many"}, "seeds", "valid integer", None),
    ({"claims": [{"id": "a"}]}, "claims[0].metric", "is needed", None),
    (
        {"claims": [{"id": "a", "metric": "alignment", "layer": 2, "any_trial": "> 0"}]},
        "claims[0].layer",
        "not measured",
        None,
    ),
    (
        {
            "trial": {"measure": {"metrics": ["scale"]}},
            "claims": [{"id": "a", "metric": "residual", "any_trial": "> 0"}],
        },
        "claims[0].metric",
        "not measured",
        None,
    ),
]


@pytest.mark.parametrize(("document", "path", "words", "nearest"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_a_wrong_grid_is_refused_by_name(document: Any, path: str, words: str, nearest: str | None) -> None:
    with pytest.raises(InvalidGrid) as caught:
        read(document)
    entry = caught.value.errors[0]
    assert entry["path"] == path
    assert words in entry["message"]
    assert entry.get("nearest") == nearest
    assert len(entry.get("received", "")) <= 200
    json.dumps(caught.value.errors, allow_nan=False).encode()
    caught.value.detail.encode()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"w1": (16, 10), "w2": (4, 15)}, "w2 has shape (4, 15), the network needs (4, 16)"),
        ({"w1": (10, 16), "w2": (4, 16)}, "w1 has shape (10, 16), the network needs (16, 10)"),
        ({"w1": (16, 10)}, "has no array w2"),
        (
            {"0.weight": (16, 10), "0.bias": (16,), "2.weight": (4, 16), "2.bias": (4,), "4.weight": (4, 4)},
            "has 5 arrays, of attentions the four maps apart, and this network reads 2: w1 (16, 10), w2 (4, 16); 2 are "
            "biases, which need network.bias: true",
        ),
    ],
)
def test_given_weights_that_do_not_fit_are_refused_with_both_shapes(arrays: dict, words: str) -> None:
    grid = {"trial": {"init": {"scheme": "given", "weights_id": "w"}, "network": {"depth": 2}}}
    with pytest.raises(InvalidGrid) as caught:
        read(grid, datasets={"w": arrays})
    assert words in caught.value.errors[0]["message"]
    assert len(read(grid, datasets={"w": {"w1": (16, 10), "w2": (4, 16)}}).expansion) == 1


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(InvalidGrid) as caught:
        read({"trial": {"training": {"stepz": 1, "learning_rate": -1}, "data": {"samples": 0}}})
    paths = {entry["path"] for entry in caught.value.errors}
    assert paths == {"trial.training.stepz", "trial.training.learning_rate", "trial.data.samples"}


def test_a_thousand_wrong_values_make_a_short_answer() -> None:
    with pytest.raises(InvalidGrid) as caught:
        read({"axes": {"training.learning_rate": ["x" * 1000] * 1000}})
    assert len(caught.value.errors) == 20
    assert len(json.dumps(caught.value.errors)) < 8192


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["name", "tags", "trial", "axes", "zip", "exclude", "include", "seeds", "claims", "priority"])
PATHS = st.sampled_from(
    [
        *("training", "training.steps", "network.width", "data.spectrum", "training.stop", "measure", "layers"),
        *("training.layers", "training.layers.1", "training.layers.1.learning_rate", "training.layers.x.weight_decay"),
    ]
)


@given(
    st.dictionaries(KEYS, PLAIN, max_size=4)
    | st.fixed_dictionaries({"axes": st.dictionaries(PATHS, st.lists(PLAIN, max_size=2), max_size=2)})
    | st.fixed_dictionaries({"include": st.lists(st.dictionaries(PATHS, PLAIN, max_size=2), max_size=2)})
    | st.fixed_dictionaries({"trial": st.fixed_dictionaries({"training": st.dictionaries(PATHS, PLAIN, max_size=2)})})
)
@settings(max_examples=500, deadline=None)
def test_whatever_is_sent_is_expanded_or_refused(document: dict) -> None:
    try:
        read(document, datasets={})
    except InvalidGrid as error:
        json.dumps(error.errors, allow_nan=False).encode()
        error.detail.encode()


def test_a_key_with_nothing_after_it_says_nothing() -> None:
    assert (
        len(read({"name": None, "axes": None, "zip": None, "seeds": None, "trial": {"training": None}}).expansion) == 1
    )


def test_answers_stay_short_whatever_is_sent() -> None:
    long = "x" * 100_000
    wrong: list[dict[str, Any]] = [
        {long: 1},
        {"trial": {long: 1}},
        {"trial": {"training": {long: 1}}},
        {"axes": {f"{long}{index}": [1] for index in range(30)}},
        {"axes": {"training": [{long: long}]}},
        {"claims": [{"id": long, "where": long, "metric": long}]},
        {"exclude": [{f"training.stepz{index}": 1} for index in range(30)]},
    ]
    for document in wrong:
        with pytest.raises(InvalidGrid) as caught:
            read(document)
        assert len(json.dumps(caught.value.errors[:5])) + len(caught.value.detail) < 7000
        assert len(caught.value.detail) < 1000


@pytest.mark.parametrize(
    ("grid", "places"),
    [
        (
            {"seeds": 0, "trial": {"network": {"depth": 0}, "training": {"learning_rate": -1}}},
            {"seeds", "trial.network.depth", "trial.training.learning_rate"},
        ),
        (
            {"seeds": "x", "bogus": 1, "axes": {"training.learning_rate": [0.1, -1]}},
            {"seeds", "bogus", "axes.training.learning_rate[1]"},
        ),
        (
            {
                "axes": {"network.dept": [2], "network.width": []},
                "trial": {"init": {"scale": -1}, "data": {"samples": 0}},
            },
            {"axes.network.dept", "axes.network.width", "trial.init.scale", "trial.data.samples"},
        ),
        (
            {"claims": [{"id": "a", "metric": "bogus", "every_trial": "> 0"}], "include": [{"network.depth": 0}]},
            {"claims[0].metric", "include[0].network.depth"},
        ),
        (
            {
                "zip": [{"network.depth": [2, 3], "data.samples": [1]}],
                "trial": {"netwrk": {}, "training": {"steps": -1}},
            },
            {"zip[0]", "trial.netwrk", "trial.training.steps"},
        ),
        # what an axis replaces is read by no trial
        (
            {"seeds": 0, "trial": {"network": {"depth": 0}}, "axes": {"network.depth": [2, 3]}},
            {"seeds"},
        ),
    ],
)
def test_every_wrong_field_is_told_wherever_it_stands(grid, places):
    with pytest.raises(InvalidGrid) as refused:
        read_claimed(grid)
    assert {entry["path"] for entry in refused.value.errors} == places


def test_a_long_axis_of_a_grid_that_is_wrong_elsewhere_is_not_looked_at_value_by_value(calls) -> None:
    grid = {"seeds": 0, "axes": {"training.learning_rate": [0.1] * 20_000 + [-1.0] + [0.2] * 20_000}}

    def refused() -> None:
        with pytest.raises(InvalidGrid) as error:
            read_claimed(grid)
        assert [one["path"] for one in error.value.errors] == ["seeds", "axes.training.learning_rate[20000]"]

    assert calls(refused) < 600_000
