"""What a grid asks to be found is read, or refused with the place and what is allowed."""

import pytest

from service.errors import InvalidGrid
from service.grid.problems import Problems
from service.planning.reading import read_plan
from service.questions.claimed_grids import read_claimed

AXES = {
    "network.depth": [2, 3],
    "training.weight_decay": [0.01, 1.0],
    "network.activation": ["linear", "relu"],
    "init.scale": [1.0],
}
GRID = {
    "trial": {"network": {"width": 4}, "training": {"steps": 10}},
    "axes": AXES,
    "claims": [{"id": "restored", "metric": "alignment", "every_trial": ">= 0.99"}],
}
WHERE = {"axis": "training.weight_decay", "where": "final.alignment >= 0.99"}


def _read(**changes):
    document = GRID | changes
    claimed = read_claimed(document)
    problems = Problems()
    plan = read_plan(document, claimed.expansion, claimed.claims, problems)
    problems.raise_as(InvalidGrid)
    return plan


def test_a_search_is_looked_for_at_every_value_of_the_other_axes():
    (search,) = _read(refine={**WHERE, "halvings": "auto"}).searches
    assert search.halvings is None
    assert search.per == ("network.depth", "network.activation", "init.scale")
    assert (search.axes[0].scale, search.axes[0].tolerance.size, search.bases) == ("log", 0.01, ((0.01, 1.0),))


def test_a_depth_is_a_whole_number_and_an_axis_from_zero_is_linear():
    plan = _read(
        axes={"network.depth": [2, 8], "training.weight_decay": [0, 1]},
        refine=[{**WHERE, "tolerance": {"absolute": 0.1}}, {"axis": "network.depth", "claim": "restored", "per": []}],
    )
    decay, depth = plan.searches
    assert (decay.axes[0].scale, decay.axes[0].tolerance.is_relative) == ("linear", False)
    assert (depth.axes[0].is_whole, depth.per, depth.where) == (True, (), None)


def test_a_grid_that_asks_for_nothing_has_no_plan():
    assert _read() is None


def test_seeds_begin_with_the_fewest():
    plan = _read(seeds={"until": {"metric": "alignment", "ci95": 0.01}, "at_least": 7})
    assert plan.seeds == (0, 1, 2, 3, 4, 5, 6)
    assert (plan.certainty.half_width, plan.certainty.at_most, plan.certainty.is_share) == (0.01, 200, False)


@pytest.mark.parametrize(
    ("refine", "path", "told"),
    [
        ({**WHERE, "axis": "training.momentum"}, "refine.axis", "no axis of this grid"),
        ({**WHERE, "axis": "init.scale"}, "refine.axis", "give two"),
        ({**WHERE, "axis": "network.activation"}, "refine.axis", "no numbers"),
        ({**WHERE, "axis": ["init.scale"]}, "refine.axis", "a list of two"),
        ({**WHERE, "axis": 5}, "refine.axis", "one axis"),
        ({**WHERE, "axis": ["network.depth", "network.depth"]}, "refine.axis", "twice"),
        ({"axis": "network.depth", "claim": "no"}, "refine.claim", "no claim"),
        ({"axis": "network.depth"}, "refine", "one of claim and where"),
        ({**WHERE, "claim": "restored"}, "refine", "one of claim and where"),
        ({**WHERE, "where": "final.uc_nfa > 1"}, "refine.where", "uc_nfa is not measured"),
        ({**WHERE, "where": "final.alignmnet > 1"}, "refine.where", "unknown path"),
        ({**WHERE, "where": "final.alignment[4] > 1"}, "refine.where", "layer 4 is not measured"),
        ({**WHERE, "where": "final.alignment[conv1] > 1"}, "refine.where", "layer conv1 is not measured"),
        ({**WHERE, "where": " "}, "refine.where", "true everywhere"),
        ({**WHERE, "tolerance": 0}, "refine.tolerance", "greater than 0"),
        ({**WHERE, "tolerance": {"absolute": -1}}, "refine.tolerance.absolute", "greater than 0"),
        ({**WHERE, "tolerance": "fine"}, "refine.tolerance", "a share such as 0.01"),
        ({**WHERE, "per": ["training.momentum"]}, "refine.per", "not varied"),
        ({**WHERE, "per": ["training.weight_decay"]}, "refine.per", "is the axis"),
        ({**WHERE, "rounds": 0}, "refine.rounds", "greater than or equal to 1"),
        ({**WHERE, "halvings": 7}, "refine.halvings", "less than or equal to 6"),
        ({**WHERE, "halvings": "many"}, "refine.halvings", "auto"),
        ({**WHERE, "tolarance": 1}, "refine.tolarance", "did you mean tolerance"),
        (["no"], "refine[0]", "must be a mapping"),
        ([WHERE] * 65, "refine", "too many"),
    ],
)
def test_a_wrong_search_is_refused_with_its_place(refine, path, told):
    with pytest.raises(InvalidGrid) as refused:
        _read(refine=refine)
    entries = refused.value.errors
    assert [entry for entry in entries if entry["path"] == path and told in entry["message"]], entries
    assert len(entries) == 1, entries


def test_a_formula_stands_under_trial_where_it_follows_the_values_that_are_added():
    formula = "= 20 / (1 + training.weight_decay)"
    plan = _read(refine=WHERE, trial={"network": {"width": 4}, "training": {"steps": 10, "learning_rate": formula}})
    assert plan is not None and "training.learning_rate" not in plan.varied
    with pytest.raises(InvalidGrid) as refused:
        _read(refine=WHERE, axes={**AXES, "training.learning_rate": [formula]})
    (entry,) = refused.value.errors
    assert entry["path"] == "axes.training.learning_rate[0]" and "put it under trial" in entry["message"]


@pytest.mark.parametrize(
    ("seeds", "path", "told"),
    [
        ({"until": {"metric": "alignment"}}, "seeds.until.ci95", "needed"),
        ({"at_least": 5}, "seeds.until", "needed"),
        ({"until": {"metric": "alignment", "ci95": 0}}, "seeds.until.ci95", "greater than 0"),
        ({"until": {"metric": "uc_nfa", "ci95": 1}}, "seeds.until.metric", "not measured"),
        ({"until": {"metric": "alignment", "layer": 4, "ci95": 1}}, "seeds.until.layer", "not measured"),
        ({"until": {"metric": "alignment", "agg": "share", "ci95": 1}}, "seeds.until", "belong together"),
        ({"until": {"metric": "alignment", "ci95": 1}, "at_least": 30, "at_most": 20}, "seeds", "more than at_most"),
        ({"until": {"metric": "alignment", "ci95": 1}, "at_leats": 30}, "seeds.at_leats", "did you mean at_least"),
    ],
)
def test_a_wrong_rule_for_seeds_is_refused_with_its_place(seeds, path, told):
    with pytest.raises(InvalidGrid) as refused:
        _read(seeds=seeds)
    entries = refused.value.errors
    assert [entry for entry in entries if entry["path"] == path and told in entry["message"]], entries
    assert len(entries) == 1, entries
