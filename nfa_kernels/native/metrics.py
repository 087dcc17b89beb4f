"""Parts of measurements by compiled code, in float64: None wherever the tensor library does them."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from nfa_kernels.native.call import check, check_done, places_of
from nfa_kernels.native.networks import compiled


def _library(array: Tensor) -> ctypes.CDLL | None:
    """For arrays like this one, or None."""
    is_here = array.device.type == "cpu" and array.dtype == torch.float64
    return compiled(array.dtype, "metrics") if is_here else None


def best_exponents(
    logs: Tensor, projections: Tensor, norms: Tensor, exponents: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Exponent, kind and alignment (K,) as `nfa_kernels.best_exponent` defines them.

    Args:
        logs: (K, R) log eigenvalues, decreasing; those dropped are not finite.
        projections: (K, R) of the Gram matrix on their eigenvectors.
        norms: (K,) of the Gram matrix, NaN where the pair is not valid.
        exponents: (A,) to scan, in units of the spread, A >= 3.
    """
    library = _library(logs)
    if library is None:
        return None
    arrays = [one.contiguous() for one in (logs, projections, norms, exponents)]
    for array, shape in zip(arrays, (logs.shape, logs.shape, logs.shape[:1], exponents.shape), strict=True):
        check(array, tuple(shape), torch.float64)
    found = logs.new_empty(3, len(logs))
    before, (points,) = [ctypes.c_void_p(one.data_ptr()) for one in arrays[:3]], exponents.shape
    after = [ctypes.c_void_p(one.data_ptr()) for one in (arrays[3], *found)]
    sizes = [ctypes.c_int64(size) for size in (*logs.shape, points)]
    check_done(library.nfa_best_exponents(*sizes[:2], *before, sizes[2], *after))
    return found[0], found[1], found[2]


class _Matrix(ctypes.Structure):
    """`struct matrix` of gram.h: a stack of matrices that lies anywhere."""

    _fields_ = (
        ("at", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("rows", "columns", "lane", "down", "across")),
    )


def _matrix(stack: Tensor) -> "ctypes.Array[_Matrix]":
    """Of (K, rows, columns), whatever its strides."""
    return (_Matrix * 1)(_Matrix(stack.data_ptr(), *stack.shape[1:], *stack.stride()))


def gram_gaps(x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor] | None:
    """|X^T X - Y^T Y|^2, |X^T X|^2 and |Y^T Y|^2, each (K,), of X (K, R, D) and Y (K, S, D); without Y of zeros."""
    y = x[:, :0] if y is None else y
    library = _library(x)
    if library is None or y.dtype != x.dtype:
        return None
    _check_pair(x, y, 2)
    found = x.new_empty(len(x), 3)
    where = ctypes.c_void_p(found.data_ptr())
    check_done(library.nfa_gram_gaps(ctypes.c_int64(len(x)), _matrix(x), _matrix(y), where))
    return found[:, 0], found[:, 1], found[:, 2]


def column_squares(x: Tensor, v: Tensor) -> Tensor | None:
    """Sums over rows of (X V)^2, (K, R), of X (K, H, D) and V (K, D, R)."""
    library = _library(x)
    if library is None or v.dtype != x.dtype:
        return None
    _check_pair(x.mT, v, 1)
    found = x.new_empty(len(x), v.shape[2])
    where = ctypes.c_void_p(found.data_ptr())
    check_done(library.nfa_column_squares(ctypes.c_int64(len(x)), _matrix(x), _matrix(v), where))
    return found


def _check_pair(x: Tensor, y: Tensor, axis: int) -> None:
    """Refuse stacks that do not fit each other: what is compiled reads where it is told to."""
    if x.ndim != 3 or y.ndim != 3 or len(x) != len(y) or x.shape[axis] != y.shape[axis] or x.device != y.device:
        told = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise ValueError(f"compiled metrics: received {told}, needed are stacks that fit")


_MOST_TURNED = 16
"""Rows up to which rotations are faster than LAPACK."""


def thin_vectors(factor: Tensor) -> tuple[Tensor, Tensor] | None:
    """Singular values (K, R), decreasing, and right vectors (K, D, R) of a factor (K, R, D) with R <= D.

    The vector of a singular value of zero is zero. Of a lane that is not finite values are NaN and vectors zeros.
    """
    library = _library(factor)
    lanes, rows, columns = factor.shape
    if library is None or rows > min(columns, _MOST_TURNED):
        return None
    values, vectors = factor.new_empty(lanes, rows), factor.new_empty(lanes, rows, columns)
    where = [ctypes.c_void_p(one.data_ptr()) for one in (values, vectors)]
    check_done(library.nfa_thin_vectors(ctypes.c_int64(lanes), _matrix(factor), *where))
    return values, vectors.mT


_MOST_SYMMETRIC = 128
"""Rows and columns up to which eigenvectors are found faster than by LAPACK."""


def symmetric_vectors(matrices: Tensor) -> tuple[Tensor, Tensor] | None:
    """Eigenvalues (K, D), decreasing, and eigenvectors (K, D, D) as columns, of symmetric matrices (K, D, D).

    Of a lane that is not finite values are NaN and vectors zeros. Eigenvalues that do not settle are LAPACK's.
    """
    library = _library(matrices)
    lanes, width = matrices.shape[:2]
    if library is None or width > _MOST_SYMMETRIC:
        return None
    matrices = matrices.contiguous()
    check(matrices, (lanes, width, width), torch.float64)
    values, vectors = matrices.new_empty(lanes, width), torch.empty_like(matrices)
    where = [ctypes.c_void_p(one.data_ptr()) for one in (matrices, values, vectors)]
    lost = (ctypes.c_int64 * lanes)()
    check_done(library.nfa_symmetric_vectors(ctypes.c_int64(lanes), ctypes.c_int64(width), *where, lost))
    for lane in (lane for lane, is_lost in enumerate(lost) if is_lost):
        of_one, turned = torch.linalg.eigh(matrices[lane])
        values[lane], vectors[lane] = of_one.flip(-1), turned.mT.flip(-2)
    return values, vectors.mT


def gram_matrices(factor: Tensor) -> Tensor | None:
    """F^T F, (K, D, D), in float64, of F (K, R, D) in float32 or float64; products and sums are in float64."""
    library = compiled(torch.float64, "metrics") if factor.device.type == "cpu" else None
    if library is None or factor.dtype not in (torch.float32, torch.float64):
        return None
    factor = factor.contiguous()
    (lanes, rows, columns), is_single = factor.shape, factor.dtype == torch.float32
    found = factor.new_empty(lanes, columns, columns, dtype=torch.float64)
    sizes = [ctypes.c_int64(size) for size in (lanes, rows, columns, is_single)]
    where = [ctypes.c_void_p(one.data_ptr()) for one in (factor, found)]
    check_done(library.nfa_gram_matrices(*sizes, *where))
    return found


def sums_of_squares(array: Tensor) -> Tensor | None:
    """(K,) of the numbers of (K, ..)."""
    library = _library(array)
    if library is None:
        return None
    array = array.contiguous()
    found = array.new_empty(len(array))
    sizes = [ctypes.c_int64(size) for size in (len(array), array[0].numel())]
    where = [ctypes.c_void_p(one.data_ptr()) for one in (array, found)]
    check_done(library.nfa_sums_of_squares(*sizes, *where))
    return found


def largest_entries(arrays: Sequence[Tensor]) -> Tensor | None:
    """(L, K) the largest absolute entry of L arrays (K, ..), all in float32 or float64; NaN where one is NaN."""
    # `len` of an array takes as long as all the rest that is asked of it
    dtype, lanes = arrays[0].dtype, arrays[0].shape[0]
    is_known = dtype in (torch.float32, torch.float64) and all(
        one.is_cpu and one.dtype == dtype and one.shape[0] == lanes and one.is_contiguous() for one in arrays
    )
    library = compiled(torch.float64, "metrics") if is_known else None
    if library is None:
        return None
    found = arrays[0].new_empty(len(arrays), lanes, dtype=torch.float64)
    sizes = [ctypes.c_int64(size) for size in (len(arrays), lanes, dtype == torch.float32)]
    counts = (ctypes.c_int64 * len(arrays))(*(one.numel() // max(1, lanes) for one in arrays))
    check_done(library.nfa_largest_entries(*sizes, counts, places_of(arrays), ctypes.c_void_p(found.data_ptr())))
    return found
