"""The words of `reduce`."""

import math

import pytest

from service.questions.reductions import parse_reduction

STEPS = [0, 1, 10, 100, 1000]
VALUES = [None, 0.5, math.nan, 2.0, 1.0]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("first", None),
        ("final", 1.0),
        ("min", 0.5),
        ("max", 2.0),
        ("mean_last:2", 1.5),
        ("mean_last:3", 1.5),
        ("mean_last:99", 3.5 / 3),
        ("first_above:0.7", 100.0),
        ("first_above:2", None),
        ("first_below:0.6", 1.0),
        ("first_below:-1e-3", None),
    ],
)
def test_a_series_reduces_to_one_number(word: str, expected: float | None) -> None:
    assert parse_reduction(word).apply(STEPS, VALUES) == expected


@pytest.mark.parametrize("word", ["first", "final", "min", "max", "mean_last:2", "first_above:0"])
def test_nothing_reduces_to_null(word: str) -> None:
    assert parse_reduction(word).apply([], []) is None
    assert parse_reduction(word).apply([5], [None]) is None


WRONG = ["last", "", "mean_last", "mean_last:", "mean_last:0", "mean_last:1.5", "mean_last:1e9"]
WRONG += ["first_above:x", "first_above:nan", "first_below:inf"]


@pytest.mark.parametrize("word", WRONG)
def test_other_words_are_refused_with_those_that_exist(word: str) -> None:
    with pytest.raises(ValueError, match=r"must be one of|after :"):
        parse_reduction(word)


@pytest.mark.parametrize("word", ["first", "mean_last:10", "first_above:0.99", "first_below:1e-09"])
def test_a_word_writes_itself(word: str) -> None:
    assert str(parse_reduction(word)) == word
