"""Factors of sums of outer products against QR and singular values of all rows at once."""

import pytest
import torch
from torch import Tensor

from nfa_kernels.alignment import alignment
from nfa_kernels.programs.folding import folded
from nfa_kernels.spectra import spectrum


def _rows(condition: float, seed: int = 0, rows: int = 400, width: int = 6) -> Tensor:
    """(rows, width) whose singular values fall evenly from 1 to 1 / condition."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(size, width, generator=generator, dtype=torch.float64) for size in (rows, width))
    values = torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), width, dtype=torch.float64)
    return torch.linalg.qr(left).Q * values @ torch.linalg.qr(right).Q.T


def _in_blocks(rows: Tensor, size: int = 150) -> Tensor:
    found: Tensor | None = None
    for some in rows.split(size, 1):
        found = folded(found, some)
    assert found is not None
    return found


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e5, 1e12], ids=str)
def test_singular_values_are_those_of_all_rows_whatever_the_condition(condition: float) -> None:
    rows = _rows(condition)[None]
    found = torch.linalg.svdvals(_in_blocks(rows))
    torch.testing.assert_close(found, torch.linalg.svdvals(rows), rtol=1e-10, atol=1e-15)


def test_a_unit_that_is_never_active_has_exactly_no_part_in_the_factor() -> None:
    rows = _rows(10.0)
    rows[:, 2] = 0
    found = _in_blocks(rows[None])
    assert (found[:, :, 2] == 0).all()
    torch.testing.assert_close(found.mT @ found, (rows.T @ rows)[None], rtol=1e-13, atol=1e-15)
    assert torch.linalg.svdvals(found)[0, -1] < 1e-16


def test_neither_rank_deficient_tiny_nor_undefined_neighbours_change_a_bit() -> None:
    deficient = _rows(10.0, 1)
    deficient[:, 3] = deficient[:, 4]
    lanes = [_rows(10.0), deficient, 1e-170 * _rows(10.0, 2), torch.full((400, 6), torch.nan).double(), _rows(1e9, 3)]
    stack = _in_blocks(torch.stack(lanes))
    for lane, alone in zip(stack, lanes, strict=True):
        assert torch.equal(lane.nan_to_num(7.0), _in_blocks(alone[None])[0].nan_to_num(7.0))
    tiny = torch.linalg.svdvals(stack[2]) / 1e-170
    torch.testing.assert_close(tiny, torch.linalg.svdvals(lanes[2] / 1e-170), rtol=1e-10, atol=0)


def test_rows_of_float32_are_summed_as_exactly_as_in_float64() -> None:
    rows = _rows(1e4).float()[None]
    expected = torch.linalg.svdvals(rows.double())
    torch.testing.assert_close(torch.linalg.svdvals(_in_blocks(rows)), expected, rtol=1e-8, atol=0)


def test_few_rows_are_kept_as_they_are() -> None:
    rows = torch.eye(6, dtype=torch.float64)[None, :4]
    assert torch.equal(_in_blocks(rows, 2), rows)


@pytest.mark.parametrize("exponent", [1 / 8, 1 / 2, 1.0])
def test_cosines_from_products_are_those_from_qr_to_twelve_digits_up_to_the_limit(exponent: float) -> None:
    rows = torch.stack([_rows(400.0, seed, 2000, 16) for seed in range(8)])
    generator = torch.Generator().manual_seed(9)
    weight = torch.randn(8, 16, 16, generator=generator, dtype=torch.float64)
    by_products, by_qr = folded(None, rows), torch.linalg.qr(rows, mode="r").R
    assert not torch.equal(by_products.abs(), by_qr.abs())
    found, wanted = (alignment(weight, spectrum(factor @ weight), exponent) for factor in (by_products, by_qr))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
