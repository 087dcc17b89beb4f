"""Singular values by rotations, eigenvalues, and Gram matrices for them: LAPACK's, and exact where those are not."""

import pytest
import torch
from compilers import needs_compiler
from hypothesis import given, settings
from hypothesis import strategies as st

from nfa_kernels.native.compiling import SWITCH
from nfa_kernels.native.metrics import gram_matrices, symmetric_vectors, thin_vectors
from nfa_kernels.spectra import spectrum

pytestmark = needs_compiler
LANES = 5
SHAPES = [(1, 1), (1, 9), (2, 2), (3, 17), (4, 32), (8, 8), (16, 16), (16, 100)]


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def found(factor):
    values_and_vectors = thin_vectors(factor)
    assert values_and_vectors is not None
    return values_and_vectors


def orthonormal(rows, columns, seed):
    """(LANES, rows, columns) whose rows are orthonormal."""
    return torch.linalg.qr(drawn(LANES, columns, rows, seed=seed)).Q.mT


def graded(rows, columns, decades, *, turned=False, seed=0):
    """Factors, and their singular values, which fall over so many decades; rows in no order, turned or not.

    Rows are exact to rounding of their own; turned ones only to that of the largest.
    """
    values = torch.logspace(0, -decades, rows, dtype=torch.float64)
    factor = values[:, None] * orthonormal(rows, columns, seed)
    factor = factor[:, torch.randperm(rows, generator=torch.Generator().manual_seed(seed))]
    return (orthonormal(rows, rows, seed + 1) @ factor if turned else factor), values


def assert_vectors(factor, values, vectors):
    rows = factor.shape[1]
    identity = torch.eye(rows, dtype=torch.float64).expand(len(factor), rows, rows)
    torch.testing.assert_close(vectors.mT @ vectors, identity, rtol=0, atol=1e-14)
    assert (values[:, :-1] >= values[:, 1:]).all()
    size = values[:, :1, None].square()
    again = (vectors * values[:, None].square()) @ vectors.mT
    assert ((again - factor.mT @ factor).abs() <= 2e-14 * size).all()


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_singular_values_and_vectors_are_those_of_lapack(rows, columns, scale):
    factor = drawn(LANES, rows, columns)
    values, vectors = found(factor * scale)
    torch.testing.assert_close(values / scale, torch.linalg.svdvals(factor), rtol=1e-12, atol=1e-15)
    assert_vectors(factor, values / scale, vectors)


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
@pytest.mark.parametrize("decades", [3, 12, 40, 140])
def test_rows_of_any_scale_have_exact_singular_values_where_lapack_has_rounding(rows, columns, decades):
    factor, wanted = graded(rows, columns, decades)
    values, vectors = found(factor)
    assert ((values / wanted - 1).abs() <= 1e-14).all()
    assert_vectors(factor, values, vectors)


@pytest.mark.parametrize("decades", [1, 6, 13, 20])
def test_graded_values_in_rows_of_one_scale_are_as_good_as_lapacks(decades):
    factor, wanted = graded(12, 20, decades, turned=True)
    values, vectors = found(factor)
    assert ((values - wanted).abs() <= 2e-15 * 12**0.5).all()
    assert_vectors(factor, values, vectors)


@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-12, 1e-8])
def test_equal_and_nearly_equal_values_have_orthogonal_vectors(gap):
    values = 1 + gap * torch.arange(8, dtype=torch.float64).flip(0)
    factor = orthonormal(8, 8, 3) @ (values[:, None] * orthonormal(8, 30, 4))
    computed, vectors = found(factor)
    assert ((computed - values).abs() <= 1e-14).all()
    assert_vectors(factor, computed, vectors)
    identity = torch.eye(6, dtype=torch.float64).expand(2, 6, 6)
    assert torch.equal(found(identity)[0], torch.ones(2, 6, dtype=torch.float64))


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_a_matrix_of_low_rank_has_rounding_for_the_rest_and_rows_of_zeros_have_zeros(rank):
    factor = drawn(LANES, 8, rank) @ drawn(LANES, rank, 12, seed=1)
    values, vectors = found(factor)
    assert (values[:, rank:] <= 1e-14 * values[:, :1]).all() and vectors.isfinite().all()
    factor = drawn(LANES, 8, 12)
    factor[:, rank:] = 0
    values, vectors = found(factor)
    assert (values[:, rank:] == 0).all() and (vectors[:, :, rank:] == 0).all() and (values[:, :rank] > 0).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_matrix_that_is_not_finite_is_alone_in_that(bad):
    factor = drawn(LANES, 4, 9)
    wanted = found(factor)
    factor[2, 3, 8] = bad
    values, vectors = found(factor)
    assert values[2].isnan().all() and (vectors[2] == 0).all()
    others = [0, 1, 3, 4]
    assert torch.equal(values[others], wanted[0][others]) and torch.equal(vectors[others], wanted[1][others])
    alone = found(factor[3:4])
    assert torch.equal(alone[0], wanted[0][3:4]) and torch.equal(alone[1], wanted[1][3:4])


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 16),
    more=st.integers(0, 40),
    decades=st.floats(0, 30),
    scale=st.integers(-50, 50),
    columns_too=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_any_matrix_agrees_with_lapack_to_its_own_rounding(rows, more, decades, scale, columns_too, seed):
    factor = drawn(2, rows, rows + more, seed=seed)
    factor *= torch.logspace(0, -decades, rows, dtype=torch.float64)[:, None]
    if columns_too:
        factor *= torch.logspace(0, -decades, rows + more, dtype=torch.float64)
    values, vectors = found(factor * 2.0**scale)
    values /= 2.0**scale
    wanted = torch.linalg.svdvals(factor)
    assert ((values - wanted).abs() <= 1e-14 * rows**0.5 * wanted[:, :1]).all()
    assert_vectors(factor, values, vectors)


def test_matrices_with_more_rows_than_columns_and_large_ones_are_left_to_lapack():
    assert thin_vectors(drawn(2, 5, 4)) is None and thin_vectors(drawn(2, 17, 40)) is None


def found_symmetric(matrices):
    values_and_vectors = symmetric_vectors(matrices)
    assert values_and_vectors is not None
    return values_and_vectors


def assert_diagonalises(matrices, values, vectors):
    """To rounding of the largest eigenvalue, whatever the others are."""
    width = matrices.shape[1]
    identity = torch.eye(width, dtype=torch.float64).expand(matrices.shape)
    torch.testing.assert_close(vectors.mT @ vectors, identity, rtol=0, atol=2e-14)
    assert (values[:, :-1] >= values[:, 1:]).all()
    size = values.abs().amax(1)
    again = (vectors * values[:, None]) @ vectors.mT
    assert ((again - matrices).abs().amax((1, 2)) <= 2e-14 * size).all()
    wanted = torch.linalg.eigvalsh(matrices).flip(-1)
    assert ((values - wanted).abs().amax(1) <= 1e-14 * size).all()


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 9, 31, 33, 64, 100])
@pytest.mark.parametrize(("scale", "decades"), [(1e-170, 0), (1.0, 0), (1.0, 6), (1.0, 17), (1e150, 2)])
def test_eigenvectors_are_those_of_lapack(width, scale, decades):
    lanes = 9  # more than a vector holds
    factor = drawn(lanes, 2 * width, width) * torch.logspace(0, -decades, width, dtype=torch.float64)
    matrices = factor.mT @ factor
    matrices[1], matrices[2] = matrices[2] - matrices[1], torch.diag(matrices[2].diagonal())
    values, vectors = found_symmetric(matrices * scale)
    assert_diagonalises(matrices, values / scale, vectors)
    for lane in (0, 4, 8):
        alone = found_symmetric(matrices[lane : lane + 1] * scale)
        assert torch.equal(alone[0], values[lane : lane + 1]) and torch.equal(alone[1], vectors[lane : lane + 1])


@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-12, 1e-8])
@pytest.mark.parametrize("rank", [5, 20])
def test_eigenvalues_that_are_equal_nearly_so_or_zero_have_orthogonal_vectors(gap, rank):
    values = torch.zeros(20, dtype=torch.float64)
    values[:rank] = 1 + gap * torch.arange(rank, dtype=torch.float64)
    turned = orthonormal(20, 20, 5)
    matrices = (turned * values) @ turned.mT
    matrices = (matrices + matrices.mT) / 2
    assert_diagonalises(matrices, *found_symmetric(matrices))
    of_one, vectors = found_symmetric(torch.eye(6, dtype=torch.float64).expand(2, 6, 6))
    assert torch.equal(of_one, torch.ones(2, 6, dtype=torch.float64))
    assert torch.equal(vectors.abs().sum(1), torch.ones(2, 6, dtype=torch.float64))
    assert (found_symmetric(torch.zeros(2, 6, 6, dtype=torch.float64))[0] == 0).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_symmetric_matrix_that_is_not_finite_is_alone_in_that(bad):
    matrices = gram_matrices(drawn(LANES, 20, 9))
    assert matrices is not None
    wanted = found_symmetric(matrices)
    matrices[2, 3, 8] = matrices[2, 8, 3] = bad
    values, vectors = found_symmetric(matrices)
    assert values[2].isnan().all() and (vectors[2] == 0).all()
    others = [0, 1, 3, 4]
    assert torch.equal(values[others], wanted[0][others]) and torch.equal(vectors[others], wanted[1][others])


def test_large_symmetric_matrices_are_left_to_lapack():
    assert symmetric_vectors(drawn(1, 129, 129)) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 2), (130, 7), (64, 33), (200, 64)])
def test_gram_matrices_are_those_of_double_precision(rows, columns, dtype):
    factor = drawn(LANES, rows, columns).to(dtype)
    matrices = gram_matrices(factor)
    assert matrices is not None and torch.equal(matrices, matrices.mT)
    wanted = factor.double().mT @ factor.double()
    assert ((matrices - wanted).abs() <= 1e-15 * rows**0.5 * wanted.amax((1, 2), keepdim=True)).all()
    alone = gram_matrices(factor[2:3].mT.contiguous().mT)
    assert alone is not None and torch.equal(alone, matrices[2:3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("widths", [(60, 6), (40, 10), (5, 12), (30, 25), (12, 9)])
def test_spectra_are_those_of_the_tensor_library(widths, dtype, monkeypatch):
    """Of ordinary lanes, of ill-conditioned ones, and of lanes that are tiny, huge, zero, or not finite."""
    factor = drawn(8, *widths)
    factor[1] *= torch.logspace(0, -9, widths[1], dtype=torch.float64)
    factor[2], factor[3], factor[4] = factor[2] * 1e-25, factor[3] * 1e25, 0
    if dtype == torch.float64:
        factor[2:4] *= torch.tensor([1e-175, 1e145], dtype=torch.float64)[:, None, None]
    factor[5, 0, 0], factor[6, 0, 0] = torch.nan, torch.inf
    factor = factor.to(dtype)
    spectra = []
    for native in ("1", "0"):
        monkeypatch.setenv(SWITCH, native)
        spectra.append(spectrum(factor))
    ours, theirs = spectra
    assert ours.finite.tolist() == theirs.finite.tolist() == [True] * 5 + [False, False, True]
    assert torch.equal(ours.rank, theirs.rank)
    torch.testing.assert_close(ours.log_values[:, 0], theirs.log_values[:, 0], rtol=1e-13, atol=1e-13)
    # in float32 singular values of the factor are known to 6e-8 of the largest, whoever finds them
    for exponent, within in ((1.0, 1e-13), (0.5, 1e-13 if dtype == torch.float64 else 1e-9)):
        one, other = ours.relative_matrix(exponent)[ours.valid], theirs.relative_matrix(exponent)[ours.valid]
        torch.testing.assert_close(one, other, rtol=0, atol=within)
    monkeypatch.setenv(SWITCH, "1")
    for lane in (0, 1, 2, 3, 7):
        for one, other in zip(spectrum(factor[lane : lane + 1]), ours, strict=True):
            assert torch.equal(one, other[lane : lane + 1]), lane
