"""What a preview costs does not follow from how many sections its points would have, were all of them made."""

from collections import Counter

from service.grid.fitting import Limits
from service.grid.points import Point
from service.store.expansions import cost_of, expanded


def test_settings_of_points_are_made_for_the_stacks_that_are_looked_into_alone(store, monkeypatch):
    made, part = Counter[str](), Point.part

    def counting(point: Point, section: str):
        made[section] += 1
        return part(point, section)

    monkeypatch.setattr(Point, "part", counting)
    grid = {"axes": {"measure.every": {"linear": [1, 3_000, 3_000]}}, "seeds": 2}
    expansion = expanded(store, grid, Limits())
    assert not made
    found = cost_of(store, expansion)
    assert (found.trials, found.new, found.stacks) == (6_000, 6_000, 3_000)
    assert made["training"] == 1 and max(made.values()) <= 1_000
