"""Boundaries along one axis and in a plane, found on statements that are known."""

import math

import pytest

from service.planning.cells import follow_curve
from service.questions.brackets import Axis, Tolerance, follow


def _search(statement, start, axis, most=100):
    """Values tried, in rounds, until nothing is added; and what is known then."""
    tried = {value: statement(value) for value in start}
    for rounds in range(most):
        line = follow(tried, axis)
        if not line.add:
            return tried, line, rounds
        tried |= {value: statement(value) for value in line.add}
    raise AssertionError(f"still {line} after {most} rounds")


@pytest.mark.parametrize("boundary", [0.003, 0.1, 0.77, 1.0, 3.14159, 9.99])
@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("size", [0.1, 0.01, 1e-6])
def test_a_boundary_is_bracketed_to_a_share_of_it_in_as_many_halvings_as_that_takes(boundary, scale, size):
    axis = Axis(scale, Tolerance(size))
    tried, line, rounds = _search(lambda x: x < boundary, [0.001, 10.0], axis)
    (bracket,) = line.brackets
    assert bracket.low < boundary <= bracket.high
    assert bracket.high - bracket.low <= size * bracket.high
    assert bracket.is_found and bracket.holds_below and line.is_monotone
    # rounding to few digits leaves at least a quarter on either side
    widest = math.log(10 / 0.001) if scale == "log" else 10.0
    narrowest = size / 2 if scale == "log" else size * boundary / 2
    assert rounds == len(tried) - 2 <= math.log(widest / narrowest, 4 / 3) + 1


def test_values_are_round_numbers():
    tried, _, _ = _search(lambda x: x < 0.4725, [0.1, 4.0], Axis("log", Tolerance(0.01)))
    assert all(len(f"{value:g}".replace(".", "").lstrip("0")) <= 4 for value in tried)


def test_an_absolute_tolerance_is_in_units_of_the_axis():
    _, line, _ = _search(lambda x: x < 0.3, [0.0, 1.0], Axis("linear", Tolerance(0.05, is_relative=False)))
    (bracket,) = line.brackets
    assert 0.0 < bracket.high - bracket.low <= 0.05


def test_whole_numbers_are_tried_until_they_are_neighbours():
    tried, line, _ = _search(lambda x: x < 37, [1.0, 512.0], Axis("log", Tolerance(1e-9), is_whole=True))
    (bracket,) = line.brackets
    assert (bracket.low, bracket.high, bracket.is_found) == (36.0, 37.0, True)
    assert all(value == int(value) for value in tried)


def test_every_change_of_the_verdict_is_followed_and_said_not_to_be_monotone():
    axis = Axis("linear", Tolerance(0.01, is_relative=False))
    _, line, _ = _search(lambda x: 0.2 < x < 0.4 or x > 0.9, [0.0, 0.3, 0.6, 1.0], axis)
    assert not line.is_monotone
    assert [bracket.low < edge <= bracket.high for bracket, edge in zip(line.brackets, [0.2, 0.4, 0.9], strict=True)]
    assert [bracket.holds_below for bracket in line.brackets] == [False, True, False]


def test_without_a_change_there_is_no_boundary():
    line = follow({0.1: True, 1.0: True}, Axis("log", Tolerance(0.01)))
    assert (line.brackets, line.add) == ((), ())


def test_a_value_without_a_verdict_ends_the_search_beside_it_and_is_told():
    line = follow({1.0: True, 2.0: None, 3.0: False}, Axis("linear", Tolerance(0.01)))
    assert (line.add, line.undefined) == ((), (2.0,))
    assert not line.brackets[0].is_found


def test_several_halvings_at_once_take_fewer_rounds_and_lead_to_the_same_bracket():
    axis, tried = Axis("log", Tolerance(0.01)), {0.001: True, 10.0: False}
    for rounds in range(100):  # noqa: B007
        line = follow(tried, axis, halvings=3)
        assert len(line.add) in (0, 1, 3, 5, 7) and list(line.add) == sorted(line.add)
        if not line.add:
            break
        tried |= {value: value < 0.77 for value in line.add}
    _, alone, halving = _search(lambda x: x < 0.77, [0.001, 10.0], axis)
    assert line.brackets == alone.brackets and rounds <= halving // 2


def test_a_search_from_zero_ends_at_a_share_of_the_axis():
    axis = Axis("linear", Tolerance(0.1, least=0.1))
    tried, line, _ = _search(lambda x: x == 0, [0.0, 1.0], axis)
    assert line.brackets[0].is_found and 0.02 < line.brackets[0].high <= 0.1 and len(tried) < 8


def test_a_search_towards_zero_on_logarithms_halves():
    assert follow({0.0: True, 1.0: False}, Axis("log", Tolerance(0.01))).add == (0.5,)


def _plane(statement, first, second, axes):
    tried = {(x, y): statement(x, y) for x in first for y in second}
    for _ in range(40):
        curve = follow_curve(tried, first, second, axes)
        if not curve.add:
            return tried, curve
        tried |= {place: statement(*place) for place in curve.add}
    raise AssertionError("still not found")


def test_a_curve_is_followed_cell_by_cell_and_uniform_cells_are_left_alone():
    axis = Axis("linear", Tolerance(1 / 64, is_relative=False))
    grid = [0.0, 0.25, 0.5, 0.75, 1.0]
    tried, curve = _plane(lambda x, y: x * x + y * y < 0.5, grid, grid, (axis, axis))
    assert curve.is_found and all(cell.high[0] - cell.low[0] <= 1 / 64 for cell in curve.crossed)
    for cell in curve.crossed:
        near, far = (sum(part * part for part in corner) for corner in (cell.low, cell.high))
        assert near <= 0.5 + 1 / 32 and far >= 0.5 - 1 / 32
    # it is followed from end to end, without the 65 x 65 points that a uniform sweep of the same resolution tries
    for x in (k / 1000 for k in range(708)):
        assert any(cell.low[0] <= x <= cell.high[0] for cell in curve.crossed)
    assert len(tried) < 65 * 65 / 5
    assert not any(x > 0.75 and y > 0.75 and (x, y) not in [(p, q) for p in grid for q in grid] for x, y in tried)


def test_an_axis_that_is_fine_enough_is_not_cut():
    axes = (Axis("linear", Tolerance(1.0, is_relative=False)), Axis("linear", Tolerance(0.1, is_relative=False)))
    tried, curve = _plane(lambda x, y: y < 0.33, [1.0, 2.0], [0.0, 1.0], axes)
    assert {x for x, _ in tried} == {1.0, 2.0}
    assert all(cell.low[1] <= 0.33 <= cell.high[1] for cell in curve.crossed)
