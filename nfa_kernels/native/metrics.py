"""Parts of measurements by compiled code, in float64: None wherever the tensor library does them."""

import ctypes

import torch
from torch import Tensor

from nfa_kernels.native.call import check, check_done
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
