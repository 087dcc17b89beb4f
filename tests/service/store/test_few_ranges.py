"""Which ranges of trials have tables of their own for what they measure."""

from service.grid.expansion import expand
from service.grid.planned_rows import planned_rows
from service.store.partitions import SHARED, Range, has_own_range, missing_ranges


def test_ranges_are_made_where_trials_have_none_and_never_overlap():
    there = [Range(0, 100), Range(1000, 2000)]
    assert missing_ranges(there, [1, 99, 1500]) == [] == missing_ranges(there, [])
    assert missing_ranges(there, [500, 600]) == [Range(100, 1000)]
    assert missing_ranges(there, [2000]) == [Range(2000, 2000 + SHARED)]
    assert missing_ranges(there, [50, 2000 + 3 * SHARED]) == [Range(2000, 2000 + 4 * SHARED)]


def test_there_are_few_ranges_of_any_number_of_trials():
    ranges: list[Range] = []
    for key in (*range(1, 10**6, 10**4), *range(10**6, 10**8, 10**6)):
        ranges += missing_ranges(ranges, [key])
    assert len(ranges) < 30
    assert has_own_range(10**6, 0) and not has_own_range(999_999, 0)
    assert has_own_range(10**7, 15) and not has_own_range(10**7, 16) and not has_own_range(10**9, 24)


def test_keys_do_not_run_out_however_many_large_experiments_come_and_go():
    ranges, key = [Range(0, SHARED)], SHARED
    for _ in range(1_000):
        (shared,) = missing_ranges(ranges, [key])
        own = Range(shared.below, shared.below + 1)
        # the earlier ones are dropped
        ranges, key = [shared, own], own.below
    assert key < 2_000 * SHARED


def test_planned_rows_are_those_of_networks_and_of_layers(tiny_grid):
    grid = tiny_grid()
    grid["trial"]["measure"] = {"every": 10, "layers": "all"}
    expansion = expand(grid)
    assert planned_rows(expansion.points, len(expansion)) == 6 * 3 * (1 + 2)
