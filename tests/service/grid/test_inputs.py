"""Inputs of metrics: how they are written, their ids, and what is refused."""

import pytest

from nfa_kernels import names
from service.errors import InvalidGrid
from service.grid.expansion import expand
from service.grid.inputs import inputs_id, names_measured
from service.grid.outline import dataset_ids

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("written", "id_"),
    [
        ("train", "train"),
        ("test", "test"),
        ({"dataset": ID}, f"data-{ID}"),
        (f"data-{ID}", f"data-{ID}"),
        ({"probes": 100}, "probes-100-0-1"),
        ({"probes": 100.0, "seed": 2, "scale": 0.1}, "probes-100-2-0.1"),
        ({"probes": 5, "scale": 1e-5}, "probes-5-0-1e-05"),
        ({"probes": 5, "scale": 1e16}, "probes-5-0-1e16"),
        ("probes-100-0-1.0", "probes-100-0-1"),
    ],
)
def test_inputs_have_one_id_however_they_are_written(written, id_):
    assert inputs_id(written) == id_ == inputs_id(id_)
    if id_ != "train":
        assert names.definition_of(f"alignment/{id_}") is names.METRICS["alignment"]
        assert names.definition_of(f"gram_norm/{id_}") is None


@pytest.mark.parametrize(
    "written",
    [
        "tests", "", "data-12", "probes-0-0-1", "probes-1-0-0", 7, None, [], {}, {"dataset": "x"}, {"dataset": 1},
        {"probes": 0}, {"probes": 1.5}, {"probes": True}, {"probes": 10**7}, {"probes": 1, "seed": -1},
        {"probes": 1, "scale": 0}, {"probes": 1, "scale": float("inf")}, {"probes": 1, "n": 2}, {"seed": 1},
    ],
)  # fmt: skip
def test_other_words_are_refused_with_what_is_allowed(written):
    with pytest.raises(ValueError, match=r"must be|takes"):
        inputs_id(written)


def _expanded(inputs, datasets=None, **trial):
    return expand({"name": "x", "trial": {"measure": {"inputs": inputs}} | trial}, datasets=datasets)


def test_a_grid_that_names_no_inputs_or_train_is_the_grid_that_it_was():
    plain = expand({"name": "x", "trial": {}})
    assert [one[3] for one in plain.trials()] == [one[3] for one in _expanded(["train"]).trials()]
    assert "inputs" not in plain.points[0].settings["measure"]


def test_the_order_in_which_inputs_are_named_makes_no_other_trial():
    data = {"test_samples": 10}
    one = _expanded(["test", {"probes": 5}], data=data)
    other = _expanded([{"probes": 5}, "train", "test", "test"], data=data)
    assert [trial[3] for trial in one.trials()] == [trial[3] for trial in other.trials()]
    measure = one.points[0].settings["measure"]
    assert measure["inputs"] == ["probes-5-0-1", "test"]
    assert "alignment/test" in names_measured(measure) and "train_loss/test" not in names_measured(measure)


@pytest.mark.parametrize(
    ("inputs", "datasets", "trial", "told"),
    [
        (["test"], {}, {}, "no test set"),
        ([{"dataset": ID}], {}, {}, "no dataset"),
        ([{"dataset": ID}], {ID: {"x": (3, 4)}}, {}, r"needs an array x \(n, 10\)"),
        ([{"dataset": ID}], {ID: {"y": (3, 4)}}, {}, r"needs an array x \(n, 10\)"),
        ([{"probes": 999_999}], {}, {"data": {"inputs": 1000}}, "over the limit"),
        (
            [{"probes": 9}],
            {},
            {
                "data": {"kind": "modular_addition", "modulus": 5, "encoding": "tokens"},
                "network": {"kind": "transformer", "depth": 1, "width": 8, "heads": 2},
            },
            "probes are numbers",
        ),
        (["all"], {}, {}, "train, test, {dataset"),
    ],
)
def test_inputs_that_a_network_cannot_read_are_refused(inputs, datasets, trial, told):
    with pytest.raises(InvalidGrid, match=told) as refused:
        _expanded(inputs, datasets, **trial)
    assert refused.value.errors[0]["path"].startswith("trial.measure.inputs")


def test_uploads_that_inputs_name_are_found_in_a_document():
    for inputs in ([{"dataset": ID}], [f"data-{ID}"]):
        assert ID in dataset_ids({"trial": {"measure": {"inputs": inputs}}})
        assert ID in dataset_ids({"axes": {"measure.inputs": [inputs]}})
