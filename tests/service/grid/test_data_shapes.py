"""Sizes of data are known before they are made, without torch or scikit-learn."""

from typing import Any

import pytest

from nfa_kernels.data import make_data
from service.errors import InvalidGrid
from service.grid.canonical import canonical
from service.grid.cost import shape_of
from service.grid.data_shapes import DataShape, Uploaded
from service.grid.expansion import expand
from service.grid.trial_settings import TrialSettings

MADE: list[dict[str, Any]] = [
    {"kind": "wine", "test_fraction": 0},
    {"kind": "modular_addition", "test_fraction": 0},
    {},
    {"samples": 30, "inputs": 7, "outputs": 2, "spectrum": [1], "test_samples": 4},
    {"kind": "clusters"},
    {"kind": "single_index", "test_samples": 3},
    {"kind": "multi_index", "outputs": 2},
    {"kind": "sparse_parity"},
    {"kind": "digits", "test_samples": 50},
    {"kind": "digits", "layout": "image", "test_fraction": 0.2},
    {"kind": "iris"},
    {"kind": "wine", "test_samples": 10},
    {"kind": "breast_cancer", "test_fraction": 0.25},
    {"kind": "diabetes", "standardise": False, "test_fraction": 0.5},
    {"kind": "modular_addition"},
    {"kind": "modular_addition", "modulus": 7, "test_fraction": 0.3},
    {"kind": "modular_addition", "modulus": 7, "fraction": 0.3, "encoding": "tokens"},
    {"kind": "modular_addition", "modulus": 7, "fraction": 1, "encoding": "tokens", "equals_sign": True},
    {"kind": "conv_teacher", "channels": 2, "size": 6, "outputs": 3, "test_samples": 5},
]


@pytest.mark.parametrize("data", MADE, ids=str)
def test_the_shape_known_beforehand_is_that_of_the_data(data: dict[str, Any]) -> None:
    settings = canonical(TrialSettings.model_validate({"data": data}))
    shape, form = shape_of(settings), dict(settings["data"])
    made = make_data(form.pop("kind"), form.pop("seed", None) or 0, **form)
    assert shape is not None
    assert (shape.samples, *shape.form) == tuple(made.x.shape) and (shape.samples, shape.outputs) == tuple(made.y.shape)
    assert (shape.test_samples, *shape.form) == tuple(made.x_test.shape)
    assert (shape.vocabulary is None) == made.x.is_floating_point()
    assert shape.vocabulary is None or int(max(made.x.max(), made.x_test.max() if len(made.x_test) else 0)) < (
        shape.vocabulary
    )


def test_an_upload_keeps_its_shape_and_may_be_split() -> None:
    arrays = {"image": {"x": (10, 1, 4, 4), "y": (10, 2)}, "rows": {"x": (10, 5), "y": (10, 2)}}

    def shape(**data: Any) -> DataShape:
        return expand({"trial": {"data": {"kind": "uploaded"} | data}}, datasets=arrays).points[0].shape

    assert shape(dataset_id="image") == DataShape(10, (1, 4, 4), 2, 0)
    assert shape(dataset_id="image", test_fraction=0.3) == DataShape(7, (1, 4, 4), 2, 3)
    assert shape(dataset_id="rows") == DataShape(10, (5,), 2, 0)
    assert (shape(dataset_id="image").inputs, shape(dataset_id="rows").inputs) == (16, 5)


TABLE = {"x": (9, 2), "y": (9, 1)}
TESTED = {"x": (9, 2), "y": (9, 1), "x_test": (3, 2), "y_test": (3, 1)}
WRONG: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({"kind": "modular_addition", "encoding": "tokens"}, {}, "data.encoding", "use encoding one_hot, or network.kind"),
    ({"vocabulary": 5}, {"x": (9, 2), "y": (9, 1)}, "data.vocabulary", "2 tokens below 5: upload one-hot rows"),
    ({"vocabulary": 5}, {"x": (9, 2, 3), "y": (9, 1)}, "data.vocabulary", "two axes; the dataset has x (9, 2, 3)"),
    ({"vocabulary": 5}, Uploaded(TABLE, [], 6), "data.vocabulary", "x holds the token 5, and tokens are"),
    ({"vocabulary": 5}, Uploaded(TABLE, [], None), "data.vocabulary", "the dataset's x has others"),
    ({"test_fraction": 0.5}, TESTED, "data.test_fraction", "has its own 3 rows x_test"),
    ({"test_fraction": 0.01}, {"x": (9, 2), "y": (9, 1)}, "data.test_fraction", "0.01 of 9 rows leaves none"),
    ({}, TESTED | {"x_test": (3, 3)}, "data.dataset_id", "x_test and y_test like them"),
    ({}, {"x": (9,), "y": (9, 1)}, "data.dataset_id", "needs arrays x (n, d), (n, t, d) or (n, c, h, w)"),
    ({}, {"x": (9, 1, 1, 1, 1), "y": (9, 1)}, "data.dataset_id", "it has x (9, 1, 1, 1, 1)"),
    ({}, {"x": (9, 0), "y": (9, 1)}, "data.dataset_id", "at least one row"),
    ({"kind": "digits", "test_samples": 5, "test_fraction": 0.1}, {}, "data", "give one of test_samples (5) and test"),
    ({"test_samples": 5, "test_fraction": 0.1}, {"x": (20, 2), "y": (20, 1)}, "data", "give one of test_samples (5)"),
    ({"kind": "modular_addition", "test_samples": 5, "test_fraction": 0}, {}, "data", "give one of test_samples (5)"),
    ({"kind": "iris", "test_samples": 150}, {}, "data", "iris has 150 samples: test_samples 150 leaves none"),
    ({"kind": "iris", "test_fraction": 0.001}, {}, "data", "0.001 of the 150 samples of iris leaves none on one side"),
    ({"kind": "digits", "samples": 1700, "test_fraction": 0.1}, {}, "data", "digits has 1797 samples"),
    ({"kind": "modular_addition", "fraction": 0.5, "test_fraction": 0.5}, {}, "data", "give one of fraction (0.5)"),
    ({"kind": "modular_addition", "modulus": 3, "fraction": 0.01}, {}, "data", "of the 9 pairs of modulus 3"),
    ({"kind": "modular_addition", "fraction": 1.5}, {}, "data.fraction", "less than or equal to 1"),
    ({"kind": "conv_teacher", "patch": 9}, {}, "data", "patch must be at most size = 8, not 9"),
    ({"kind": "conv_teacher", "filters": 10}, {}, "data", "filters must be at most channels patch^2 = 9, not 10"),
    ({"kind": "conv_teacher", "pooling": "avg"}, {}, "data.pooling", "unknown name avg"),
    ({"kind": "digits", "layout": "images"}, {}, "data.layout", "did you mean image?"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "arrays", "path", "words"), WRONG, ids=[str(index) for index in range(len(WRONG))])
def test_data_that_do_not_fit_are_refused_by_name(data: dict, arrays: dict, path: str, words: str) -> None:
    grid = {"trial": {"data": {"kind": "uploaded", "dataset_id": "a"} | data}}
    with pytest.raises(InvalidGrid) as caught:
        expand(grid, datasets={"a": arrays})
    assert caught.value.errors[0]["path"] == f"trial.{path}"
    assert words in caught.value.errors[0]["message"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"kind": "digits"}, {"kind": "digits", "layout": "flat", "test_fraction": None}),
        ({"kind": "digits", "test_samples": 9}, {"kind": "digits", "test_samples": 9, "test_fraction": 0}),
        ({"kind": "iris"}, {"kind": "iris", "test_fraction": 0.0}),
        ({"kind": "uploaded", "dataset_id": "a"}, {"kind": "uploaded", "dataset_id": "a", "test_fraction": 0}),
        ({"kind": "modular_addition", "fraction": 1}, {"kind": "modular_addition", "test_fraction": 0}),
        ({"kind": "digits", "test_fraction": 0.2}, {"kind": "digits", "test_fraction": 0.2, "test_samples": 0}),
        ({"kind": "modular_addition", "fraction": 0.7}, {"kind": "modular_addition", "test_fraction": 0.3}),
        ({"kind": "modular_addition"}, {"kind": "modular_addition", "fraction": 0.5, "equals_sign": True}),
        ({"kind": "uploaded", "dataset_id": "a"}, {"kind": "uploaded", "dataset_id": "a", "seed": 5, "samples": 3}),
    ],
)
def test_two_ways_to_write_one_data_set_agree(one: dict, other: dict) -> None:
    assert canonical(TrialSettings.model_validate({"data": one})) == canonical(
        TrialSettings.model_validate({"data": other})
    )


def test_preview_ignores_what_a_kind_does_not_read_and_nothing_else() -> None:
    def ignored(**data: Any) -> tuple[str, ...]:
        return expand({"trial": {"data": data}}, datasets={"a": {"x": (9, 2), "y": (9, 1)}}).ignored

    assert ignored(kind="digits", layout="flat", test_fraction=None, test_samples=0) == ()
    assert ignored(kind="digits", test_fraction=0.5, test_samples=0) == ()
    assert ignored(kind="modular_addition", test_fraction=0.5) == ()
    assert ignored(kind="modular_addition", equals_sign=True) == ("data.equals_sign",)
    assert ignored(kind="uploaded", dataset_id="a", seed=3) == ("data.seed",)
    assert ignored(kind="uploaded", dataset_id="a", seed=3, test_fraction=0.5, vocabulary=None) == ()
    assert ignored(layout="image", test_fraction=0.5) == ("data.layout", "data.test_fraction")


def test_kinds_of_one_shape_share_a_stack_and_splits_of_one_upload_too() -> None:
    axes = {"axes": {"data.kind": ["single_index", "sparse_parity"], "data.seed": [1, 2]}}
    assert len({point.stack_key for point in expand(axes).points}) == 1
    layouts = {"trial": {"data": {"kind": "digits"}}, "axes": {"data.layout": ["flat", "image"]}}
    assert len({point.stack_key for point in expand(layouts).points}) == 2
    data = {"kind": "uploaded", "dataset_id": "a", "test_fraction": 0.3}
    splits = {"trial": {"data": data}, "axes": {"data.seed": [1, 2]}}
    points = expand(splits, datasets={"a": {"x": (9, 2), "y": (9, 1)}}).points
    assert len(points) == 2 and len({point.stack_key for point in points}) == 1
