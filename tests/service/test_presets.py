"""The grids that ship."""

import pytest

from service.errors import NotFound
from service.grid.expansion import expand
from service.presets import get_preset, list_presets, preset_names
from service.questions.claimed_grids import read_claimed


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_a_valid_grid_with_claims_and_a_title(name: str) -> None:
    preset = get_preset(name)
    expansion, claims = read_claimed(preset.grid)
    assert expansion.grid.name == name
    assert preset.trials == len(expansion) >= 10
    assert preset.title and "\n" not in preset.title and preset.description
    assert claims and all(claim.says for claim in claims)


@pytest.mark.parametrize("name", preset_names())
def test_every_claim_of_a_preset_is_about_some_of_its_trials(name: str) -> None:
    from service.questions.filters import matches, parse

    expansion, claims = read_claimed(get_preset(name).grid)

    def setting(point, path):
        section, field = path.split(".")
        return point.settings[section].get(field)

    for claim in claims:
        tree = parse(claim.where)
        assert any(matches(tree, lambda path, point=point: setting(point, path)) for point in expansion.points), (
            claim.id
        )


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_sets_nothing_that_is_ignored(name: str) -> None:
    assert expand(get_preset(name).grid).ignored == ()


def test_the_weight_decay_preset_has_150_trials_in_three_stacks() -> None:
    expansion = expand(get_preset("weight-decay").grid)
    assert len(expansion) == 150
    assert len({point.stack_key for point in expansion.points}) == 3
    slow = {p.settings["training"]["steps"] for p in expansion.points if p.settings["network"]["depth"] == 4}
    assert slow == {12_000}


def test_an_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(NotFound, match="did you mean weight-decay"):
        get_preset("weight_decay")
    assert [preset.name for preset in list_presets()] == preset_names()
