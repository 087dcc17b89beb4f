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
    assert missing_ranges([Range(0, 40 * SHARED)], [40 * SHARED]) == [Range(40 * SHARED, 50 * SHARED)]


def test_there_are_few_ranges_of_any_number_of_trials():
    ranges: list[Range] = []
    for key in (*range(1, 10**6, 10**4), *range(10**6, 10**8, 10**6)):
        ranges += missing_ranges(ranges, [key])
    assert len(ranges) < 40
    assert has_own_range(10**6, 0) and not has_own_range(999_999, 0)
    assert has_own_range(10**7, 15) and not has_own_range(10**7, 16) and not has_own_range(10**9, 24)


def test_planned_rows_are_those_of_networks_and_of_layers(tiny_grid):
    grid = tiny_grid()
    grid["trial"]["measure"] = {"every": 10, "layers": "all"}
    expansion = expand(grid)
    assert planned_rows(expansion.points, len(expansion)) == 6 * 3 * (1 + 2)
