"""Questions by the name of a layer read, of every trial, the layer that has this name."""

import pytest

from service.errors import InvalidRequest
from service.grid.expansion import expand
from service.questions.reductions import parse_reduction
from service.store import claims, curves, experiments, results, submissions, trials
from service.store.verdicts import judged

HEAD = {"linear": {"name": "head"}}
SHALLOW = [{"linear": {"units": 4, "name": "a"}}, HEAD]
DEEP = [{"linear": {"units": 4, "name": "first"}}, {"linear": {"units": 4, "name": "a"}}, HEAD]


@pytest.fixture
def of_both(store, train_queue):
    grid = {
        "trial": {
            "network": {"kind": "graph"},
            "data": {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1]},
            "training": {"steps": 3, "learning_rate": 0.01},
            "measure": {"layers": "all", "points": 2},
        },
        "axes": {"network.layers": [SHALLOW, DEEP]},
        "claims": [
            {"id": "a", "metric": "alignment", "layer": "a", "any_trial": "> 0", "gate": "none"},
            {"id": "first", "metric": "alignment", "layer": "first", "any_trial": "> 0", "gate": {"alignment": "> 0"}},
        ],
    }
    made = submissions.create_experiment(store, expand(grid))
    train_queue()
    return made.id


def _values(store, experiment: str, layer, where: str = "", reduce: str = "final") -> list[float | None]:
    question = results.Question(("network.layers",), ("alignment",), layer, parse_reduction(reduce), ("mean",), where)
    return [row["alignment_mean"] for row in results.group_table(store, experiment, question)]


def test_a_name_is_another_number_in_another_network(store, of_both):
    by_number = {number: _values(store, of_both, number) for number in (1, 2, 3)}
    assert by_number[3].count(None) == 1
    deep = next(place for place, value in enumerate(by_number[3]) if value is not None)
    assert _values(store, of_both, "a")[deep] == by_number[2][deep]
    assert _values(store, of_both, "a")[1 - deep] == by_number[1][1 - deep]
    assert _values(store, of_both, "head")[deep] == by_number[3][deep]
    assert _values(store, of_both, "first").count(None) == 1
    for reduce in ("first", "max", "mean_last:2"):
        assert None not in _values(store, of_both, "a", reduce=reduce)


def _list(store, experiment: str, where: str, sort: str | None = None):
    return trials.list_trials(store, experiment, state=None, where=where, sort=sort, limit=9, after=None)[0]


def test_filters_orders_curves_and_claims_take_names(store, of_both):
    found = _list(store, of_both, "final.alignment[a] > -1", "-final.alignment[a]")
    values = [one.final["alignment[1]" if one.row.settings["layers"][0] == "a" else "alignment[2]"] for one in found]
    assert len(values) == 2 and values == sorted(values, reverse=True)
    assert len(_list(store, of_both, "final.alignment[first] is null")) == 1
    assert len(_list(store, of_both, "final.alignment[nobody] is null")) == 2
    assert _values(store, of_both, "head", where="final.alignment[first] is not null") == [
        value for value in _values(store, of_both, 3) if value is not None
    ]
    question = curves.CurveQuestion(("network.layers",), "alignment", "a", ("mean",))
    assert [len(one["alignment_mean"]) for one in curves.curves(store, of_both, question)] == [3, 3]
    of_a, of_first = judged(store, experiments.get_experiment(store, of_both))
    assert (of_a["holds"], of_a["trials"], of_first["holds"], of_first["trials"]) == (True, 2, True, 1)


def test_a_layer_that_no_network_has_is_refused_with_those_there_are(store, of_both):
    for layer in ("tail", 9):
        with pytest.raises(InvalidRequest, match=rf"received {layer}, .* 1 \(a, first\), 2 \(a, head\), 3 \(head\)"):
            _values(store, of_both, layer)
    assert [one["layers"] for one in claims.measured_in(store, of_both)] == [["a", "head"], ["first", "a", "head"]]
