"""Rounds of whole searches, on statements whose boundaries are known; nothing is trained."""

import math

import pytest

from service.grid.expansion import expand
from service.grid.problems import Problems
from service.grid.reading import setting
from service.planning.planner import FEW_TRIALS, boundaries, next_round, round_grids
from service.planning.reading import read_plan
from service.presets import get_preset
from service.questions.brackets import Line
from service.questions.claimed_grids import read_claimed
from service.questions.judging import Row
from service.states import TrialState

DECAY = "training.weight_decay"
LOST = {2: (3.0, 2.0, 1.5, 1.0), 3: (2.04426, 1.19055, 0.811265, 0.47247)}
"""Depth -> the weight decay from which on each mode is lost."""


def _rows(expansion):
    """Trials that end as theory has it."""

    def lookup(path, settings, seed):
        if path.startswith("final."):
            mode = int(path.partition("@")[2]) - 1
            return float(setting(settings, DECAY) < LOST[setting(settings, "network.depth")][mode])
        return seed if path == "seed" else setting(settings, path)

    return [
        Row("t", TrialState.COMPLETED, lambda path, p=point, s=seed: lookup(path, p.settings, s), {})
        for _, point, seed, _ in expansion.trials()
    ]


def _searched(**changes):
    """Sizes of all rounds of critical-decay, why it stopped, and what it found."""
    grid = {**get_preset("critical-decay").grid, "claims": []}
    grid["refine"] = [{**entry, **changes} for entry in grid["refine"]]
    claimed = read_claimed(grid)
    plan = read_plan(grid, claimed.expansion, claimed.claims, Problems())
    assert plan is not None
    rows, sizes, added = _rows(claimed.expansion), [len(claimed.expansion)], {}
    while True:
        asked = next_round(plan, {plan.told: rows}, len(sizes) - 1, added)
        if not asked.additions:
            return sizes, asked.stopped, boundaries(plan, {plan.told: rows})
        new = [row for part in round_grids(grid, asked.additions) for row in _rows(expand(part))]
        assert len(new) == asked.trials
        added = {place: added.get(place, 0) + count for place, count in asked.added.items()}
        sizes.append(len(new))
        rows += new


@pytest.mark.parametrize(("halvings", "most_rounds"), [(1, 14), (2, 8), ("auto", 6)])
def test_all_thresholds_are_found_with_a_tenth_of_the_trials_of_a_uniform_grid(halvings, most_rounds):
    sizes, stopped, found = _searched(halvings=halvings)
    uniform = 2 * 3 * (1 + math.ceil(math.log(40) / -math.log1p(-0.005)))
    assert sum(sizes) <= uniform / 10 and len(sizes) <= most_rounds and not stopped
    for number, one in enumerate(found):
        assert isinstance(one.found, Line)
        (bracket,) = one.found.brackets
        truth = LOST[one.group["network.depth"]][number // 2]
        assert bracket.is_found and bracket.low < truth <= bracket.high <= bracket.low / 0.995


def test_rounds_with_room_do_more_halvings_and_stay_small():
    sizes, _, _ = _searched(halvings="auto")
    assert max(sizes) <= FEW_TRIALS
    # the first bracket is the same for all four modes: four halvings of it are fifteen values at both depths
    assert sizes[1] == 15 * 2 * 3


def test_open_halvings_keep_to_what_a_search_may_add():
    sizes, stopped, _ = _searched(halvings="auto", at_most=60)
    assert sizes[1] == 7 * 2 * 3
    assert set(stopped) == {f"refine[{number}]" for number in range(4)}
