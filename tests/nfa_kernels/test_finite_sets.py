"""Data sets of a known size: tables of scikit-learn, digits as images, modular addition, uploads, and their splits."""

import numpy as np
import pytest
import torch
from sklearn import datasets

from nfa_kernels.data import make_data
from nfa_kernels.names import TABLES, share

ONLY_TABLES = sorted(set(TABLES) - {"digits"})


@pytest.mark.parametrize("name", TABLES)
def test_the_sizes_known_without_scikit_learn_are_those_of_its_tables(name):
    loaded, table = getattr(datasets, f"load_{name}")(), TABLES[name]
    assert loaded.data.shape == (table.samples, table.inputs)
    classes = len(set(loaded.target.tolist()))
    assert table.names_classes == (classes == table.outputs) and (table.names_classes or table.outputs == 1)


@pytest.mark.parametrize("name", ONLY_TABLES)
def test_a_table_is_split_without_repetition_and_as_it_is_where_it_is_not_standardised(name):
    found = make_data(name, 3, standardise=False, test_fraction=0.3)
    table, held = TABLES[name], share(TABLES[name].samples, 0.3)
    assert found.x_test.shape == (held, table.inputs) and len(found.x) == table.samples - held
    loaded = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    rows = np.concatenate([loaded.data, np.eye(3)[loaded.target] if name == "iris" else loaded.target[:, None]], 1)
    targets = torch.cat([found.y, found.y_test])
    if name not in ("iris", "diabetes"):
        targets = targets.argmax(1, keepdim=True).double()
    ours = torch.cat([torch.cat([found.x, found.x_test]), targets], 1).numpy()
    assert np.array_equal(ours[np.lexsort(ours.T)], rows[np.lexsort(rows.T)])


@pytest.mark.parametrize("name", ONLY_TABLES)
def test_columns_are_standardised_by_the_training_rows_alone(name):
    plain, found = (make_data(name, 1, standardise=choice, test_samples=40) for choice in (False, True))
    zero, one = torch.zeros(found.x.shape[1]).double(), torch.ones(found.x.shape[1]).double()
    torch.testing.assert_close(found.x.mean(0), zero, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.x.var(0, correction=0), one, rtol=1e-12, atol=0)
    moved = (plain.x_test - plain.x.mean(0)) / plain.x.std(0, correction=0)
    torch.testing.assert_close(found.x_test, moved, rtol=1e-12, atol=1e-12)
    if TABLES[name].names_classes:
        assert torch.equal(found.y, plain.y) and found.y.sum(1).eq(1).all()
    else:
        target = (plain.y_test - plain.y.mean()) / plain.y.std(correction=0)
        torch.testing.assert_close(found.y_test, target, rtol=1e-12, atol=1e-12)
        assert found.y.mean().abs() < 1e-12


def test_a_larger_held_out_share_of_a_table_only_takes_training_rows_away():
    some, more = (make_data("wine", 5, standardise=False, test_fraction=fraction) for fraction in (0.2, 0.5))
    assert torch.equal(some.x[: len(more.x)], more.x) and torch.equal(more.x_test[-len(some.x_test) :], some.x_test)


def test_digits_as_images_are_the_same_numbers():
    flat, image = (make_data("digits", 2, samples=30, test_fraction=0.1, layout=layout) for layout in ("flat", "image"))
    assert image.x.shape == (30, 1, 8, 8) and image.x_test.shape == (180, 1, 8, 8)
    assert torch.equal(image.x.flatten(1), flat.x) and torch.equal(image.y_test, flat.y_test)
    assert torch.equal(flat.x, make_data("digits", 2, samples=30).x)


@pytest.mark.parametrize("equals_sign", [False, True])
def test_every_pair_of_modular_addition_is_there_once_with_its_sum(equals_sign):
    found = make_data("modular_addition", 0, modulus=7, fraction=0.4, encoding="tokens", equals_sign=equals_sign)
    assert found.x.shape == (20, 2 + equals_sign) and found.x_test.shape == (29, 2 + equals_sign)
    tokens, sums = torch.cat([found.x, found.x_test]), torch.cat([found.y, found.y_test])
    assert tokens.dtype == torch.int64 and sums.shape == (49, 7) and sums.sum(1).eq(1).all()
    assert len({tuple(row) for row in tokens[:, :2].tolist()}) == 49
    assert torch.equal(sums.argmax(1), (tokens[:, 0] + tokens[:, 1]) % 7)
    assert not equals_sign or tokens[:, 2].eq(7).all()


def test_one_hot_pairs_are_the_tokens_of_the_same_seed():
    tokens = make_data("modular_addition", 4, modulus=5, encoding="tokens")
    rows = make_data("modular_addition", 4, modulus=5)
    assert rows.x.shape == (13, 10) and rows.x.dtype == torch.float64 and rows.x.sum(1).eq(2).all()
    assert torch.equal(rows.x.view(-1, 2, 5).argmax(2), tokens.x) and torch.equal(rows.y, tokens.y)
    assert len(make_data("modular_addition", 4, modulus=5, fraction=1.0).x_test) == 0


def test_an_upload_keeps_its_shape_and_is_split_by_the_seed():
    images = np.arange(10 * 2 * 3 * 3).reshape(10, 2, 3, 3)
    arrays = {"x": images, "y": np.arange(10)[:, None]}
    plain = make_data("uploaded", 0, arrays=arrays)
    assert plain.x.shape == (10, 2, 3, 3) and torch.equal(plain.x, torch.as_tensor(images).double())
    one, other = (make_data("uploaded", seed, arrays=arrays, test_fraction=0.3) for seed in (0, 1))
    assert one.x.shape == (7, 2, 3, 3) and one.x_test.shape == (3, 2, 3, 3)
    assert sorted(torch.cat([one.y, one.y_test])[:, 0].tolist()) == list(range(10))
    assert not torch.equal(one.y, other.y)
    assert torch.equal(one.x[:, 0, 0, 0], 18 * one.y[:, 0])


def test_uploaded_tokens_are_whole_numbers_of_the_vocabulary():
    arrays = {"x": np.array([[0.0, 4.0], [2.0, 1.0]]), "y": np.ones((2, 1))}
    assert make_data("uploaded", 0, arrays=arrays, vocabulary=5).x.tolist() == [[0, 4], [2, 1]]
    with pytest.raises(ValueError, match=r"the token 4, allowed are whole numbers 0 \.\. 3"):
        make_data("uploaded", 0, arrays=arrays, vocabulary=4)
    with pytest.raises(ValueError, match=r"the token 0.5, allowed"):
        make_data("uploaded", 0, arrays=arrays | {"x": np.array([[0.5, 1.0], [0.0, 0.0]])}, vocabulary=2)


@pytest.mark.parametrize(
    ("arrays", "settings", "told"),
    [
        ({"x": np.ones(3), "y": np.ones((3, 1))}, {}, r"x: received shape \(3,\)"),
        ({"x": np.ones((3, 1, 1, 1, 1)), "y": np.ones((3, 1))}, {}, r"x: received shape \(3, 1, 1, 1, 1\)"),
        (
            {"x": np.ones((3, 2, 2)), "y": np.ones((3, 1))},
            {"vocabulary": 5},
            r"are finite numbers \(samples, co",
        ),
        ({"x": np.ones((3, 2)), "y": np.ones((3, 2, 2))}, {}, r"y: received shape \(3, 2, 2\)"),
        (
            {"x": np.ones((3, 1, 2)), "y": np.ones((3, 1)), "x_test": np.ones((1, 2, 1)), "y_test": np.ones((1, 1))},
            {},
            "samples of 2 x 1 and 1 columns, needed are 1 x 2 and 1",
        ),
        (
            {"x": np.ones((3, 2)), "y": np.ones((3, 1)), "x_test": np.ones((1, 2)), "y_test": np.ones((1, 1))},
            {"test_fraction": 0.5},
            "test_fraction: received 0.5 beside x_test",
        ),
    ],
)
def test_uploads_that_do_not_fit_are_refused_by_name(arrays, settings, told):
    with pytest.raises(ValueError, match=told):
        make_data("uploaded", 0, arrays=arrays, **settings)
