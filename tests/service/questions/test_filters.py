"""The `where` language: its grammar, null, types, and errors that point at the column."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidFilter
from service.questions.filters import (
    EVERYTHING,
    And,
    Compare,
    Filter,
    In,
    IsNull,
    Not,
    Or,
    matches,
    parse,
    paths,
    split_final,
)

TRIAL: dict[str, Any] = {
    "training.weight_decay": 0.05,
    "training.optimizer": "adam",
    "training.batch_size": None,
    "network.depth": 3,
    "network.width": [16, 16],
    "network.bias": False,
    "data.covariance": "identity",
    "state": "completed",
    "seed": 3,
    "final.alignment": 0.9,
    "final.alignment[2]": None,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("  ", True),
        ("training.weight_decay >= 0.05", True),
        ("training.weight_decay>5e-2", False),
        ("network.depth == 3.0", True),
        ("network.depth != 3", False),
        ("seed in (1, 2, 3)", True),
        ("seed not in (1, 2, 3)", False),
        ("training.optimizer == adam", True),
        ("training.optimizer == 'adam'", True),
        ('training.optimizer in (gd, "adam")', True),
        ("training.optimizer < sgd", True),
        ("state == completed and seed == 3", True),
        ("state == failed or seed == 3", True),
        ("state == failed and seed == 4 or network.depth == 3", True),
        ("state == failed and (seed == 4 or network.depth == 3)", False),
        ("not state == failed and seed == 3", True),
        ("not (state == failed or seed == 3)", False),
        ("not not seed == 3", True),
        ("training.batch_size is null", True),
        ("training.batch_size is not null", False),
        ("not training.batch_size is null", False),
        ("final.alignment[2] is null", True),
        ("final.alignment[1] is null", True),
        ("final.alignment > 0.5", True),
        ("network.width == 16", True),
        ("network.width > 20", False),
        ("network.bias == false", True),
        ("network.bias == 0", False),
        ("network.bias != true", True),
        ("network.bias < true", False),
        ("training.optimizer == 5", False),
        ("training.optimizer != 5", False),
        ("seed == -3", False),
    ],
)
def test_a_filter_means_what_it_says(text: str, expected: bool) -> None:
    assert matches(parse(text), TRIAL.get) is expected


@pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">", ">="])
def test_every_comparison_with_null_is_false(op: str) -> None:
    assert not matches(parse(f"training.batch_size {op} 5"), TRIAL.get)
    assert not matches(parse(f"final.alignment[2] {op} 0.5"), TRIAL.get)
    assert not matches(parse(f"final.alignment {op} 0.5"), {"final.alignment": float("nan")}.get)


def test_the_tree_is_plain_data() -> None:
    tree = parse("not (seed in (1, 2)) and training.batch_size is not null or state != failed")
    left = And((Not(In("seed", (1, 2))), Not(IsNull("training.batch_size"))))
    assert tree == Or((left, Compare("state", "!=", "failed")))
    assert paths(tree) == {"seed", "training.batch_size", "state"}
    assert parse("") == EVERYTHING


def test_final_paths_split_into_metric_and_layer() -> None:
    assert split_final("final.alignment[12]") == ("alignment", 12)
    assert split_final("final.train_loss") == ("train_loss", None)
    assert split_final("seed") is None


@pytest.mark.parametrize(
    ("text", "column", "words", "nearest"),
    [
        ("weight_decay > 1", 1, "unknown path", "training.weight_decay"),
        ("seed == 1 and training.weight_dcay > 1", 15, "unknown path", "training.weight_decay"),
        ("alignment > 1", 1, "unknown path", "final.alignment"),
        ("final.alignmnt > 1", 1, "unknown path", "final.alignment"),
        ("final.train_loss[1] > 1", 1, "only metrics of layers", None),
        ("final.alignment[0] > 1", 1, "counted from 1", None),
        ("training > 1", 1, "unknown path", None),
        ("state == complete", 10, "unknown state", "completed"),
        ("state in (queued, runing)", 19, "unknown state", "running"),
        ("training.optimizer == adm", 23, "unknown optimizer", "adam"),
        ("init.scheme in (he, balance)", 21, "unknown scheme", "balanced"),
        ("seed = 3", 6, "unexpected character", "=="),
        ("seed == 3 $", 11, "unexpected character", None),
        ("seed == 'a", 9, "unexpected character", None),
        ("seed ==", 8, "expected a number or a word", None),
        ("seed", 5, "expected a comparison", None),
        ("seed 3", 6, "expected a comparison", None),
        ("seed == 3 seed == 4", 11, "expected and, or", None),
        ("(seed == 3", 11, "expected )", None),
        ("seed in 3", 9, "expected (", None),
        ("seed in ()", 10, "expected a number", None),
        ("seed is 3", 9, "expected null", None),
        ("seed not 3", 10, "expected in", None),
        ("training.batch_size == null", 24, "write training.batch_size is null", None),
        ("3 == seed", 1, "expected a path", None),
        ("and seed == 3", 1, "unknown path", None),
        ("(" * 200 + "seed == 3", 51, "nested more than", None),
        ("not " * 200 + "seed == 3", 201, "nested more than", None),
    ],
)
def test_a_wrong_filter_points_at_its_column(text: str, column: int, words: str, nearest: str | None) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse(text)
    (entry,) = caught.value.errors
    assert entry["column"] == column
    assert words in entry["message"]
    if nearest:
        assert entry["nearest"] == nearest


def test_an_endless_filter_is_refused() -> None:
    with pytest.raises(InvalidFilter, match="over the limit"):
        parse("seed == 3 or " * 1000 + "seed == 4")


def written(tree: Filter) -> str:
    """The tree as text, with every bracket."""
    match tree:
        case Compare(path, op, value):
            return f"{path} {op} {value!r}"
        case In(path, values):
            return f"{path} in ({', '.join(map(repr, values))})"
        case IsNull(path):
            return f"{path} is null"
        case Not(fact):
            return f"not ({written(fact)})"
        case And(parts):
            return " and ".join(f"({written(part)})" for part in parts)
        case Or(parts):
            return " or ".join(f"({written(part)})" for part in parts)


VALUES = st.integers(-5, 5) | st.floats(-5, 5, allow_nan=False) | st.sampled_from(["adam", "gd", "sgd"])
PATHS = st.sampled_from(["seed", "training.optimizer", "training.batch_size", "final.alignment", "network.width"])
LEAVES = (
    st.builds(Compare, PATHS, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), VALUES)
    | st.builds(In, PATHS, st.lists(VALUES, min_size=1, max_size=3).map(tuple))
    | st.builds(IsNull, PATHS)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=6,
)


@given(TREES)
@settings(max_examples=300, deadline=None)
def test_what_is_written_parses_to_the_same_tree(tree: Filter) -> None:
    assert parse(written(tree)) == tree


@given(TREES, TREES)
@settings(max_examples=100, deadline=None)
def test_and_binds_tighter_than_or_and_not_negates(one: Filter, other: Filter) -> None:
    a, b = matches(one, TRIAL.get), matches(other, TRIAL.get)
    assert matches(And((one, other)), TRIAL.get) == (a and b)
    assert matches(Or((one, other)), TRIAL.get) == (a or b)
    assert matches(Not(one), TRIAL.get) == (not a)


@given(st.text(max_size=30) | st.text("seed()=<>!andorti .3,'", max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse(text)
    except InvalidFilter as error:
        assert error.errors and 1 <= error.errors[0]["column"] <= len(text) + 1
        error.detail.encode()
