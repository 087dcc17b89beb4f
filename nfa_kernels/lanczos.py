"""The largest eigenvalue of symmetric operators of a whole stack, from products with vectors alone.

Lanczos with full reorthogonalisation and thick restarts: the basis is an array of bounded size, and the best directions
in it are kept when it is full. Every network begins at the same vector, converges by itself and is then left as it is,
so that its number does not depend on its stack. Degenerate eigenvalues count once; an eigenvector is never told.
Source: Wu and Simon 2000, doi:10.1137/S0895479898334605.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nfa_kernels.spectra import zeroed

Product = Callable[[Tensor], Tensor]
"""(K, P) -> (K, P), the operator of each network times a vector of its own."""

TOLERANCE = 1e-10
"""|H v - theta v| over the largest |theta| at which theta is an eigenvalue: what bounds its error, relative to |H|."""
MOST_PRODUCTS = 1_000
"""Beyond which a network that has not converged is undefined."""
_EXHAUSTED = 1e-14
"""What is left of a product over the product itself, at which it lies in the basis: nothing but rounding is new."""
_CHECKED_EVERY = 8
"""Products between two looks at the eigenvalues: a look costs as much as some products of a small network."""


def largest_eigenvalue(product: Product, start: Tensor, basis: int) -> Tensor:
    """The algebraically largest eigenvalue (K,), which may be negative; NaN where the operator is not finite.

    Args:
        product: linear and symmetric for each network; it may answer anything for a network that is no number.
        start: (K, P) float64, the same row for every network, no zero.
        basis: vectors of length P that are held at once, at least 4 or P.
    """
    stack, length = start.shape
    size = min(basis, length)
    vectors = start.new_zeros(stack, size, length)
    projected = start.new_zeros(stack, size, size)
    found, largest = start.new_full((stack,), torch.nan), start.new_zeros(stack)
    done = torch.zeros(stack, dtype=torch.bool, device=start.device)
    vectors[:, 0] = start / torch.linalg.vector_norm(start, dim=1, keepdim=True)
    powers, at = None, 0
    for number in range(1, MOST_PRODUCTS + 1):
        image = product(vectors[:, at])
        if powers is None:
            powers = _powers(image)
        image = torch.ldexp(image, -powers[:, None])
        known = vectors[:, : at + 1]
        coefficients, image = _split(known, image)
        projected[:, at, : at + 1] = projected[:, : at + 1, at] = coefficients
        rest = torch.linalg.vector_norm(image, dim=1)
        largest = torch.maximum(largest, torch.linalg.vector_norm(coefficients, dim=1))
        bad, exhausted = ~(rest + largest).isfinite() & ~done, (rest <= _EXHAUSTED * largest) & ~done
        done = done | bad
        at += 1
        # what a network alone decides: a neighbour that ends early is no reason to look at others
        is_due = at % _CHECKED_EVERY == 0 or at == size
        if is_due or bool(exhausted.any()):
            usable = ~bad & projected.flatten(1).isfinite().all(1)
            values, rotations = torch.linalg.eigh(zeroed(projected[:, :at, :at], usable))
            error = rest * rotations[:, -1, -1].abs()
            converged = exhausted | (error <= TOLERANCE * values.abs().amax(1)) if is_due else exhausted
            converged = converged & usable & ~done
            found, done = torch.where(converged, values[:, -1], found), done | converged
            if bool(done.all()) or number == MOST_PRODUCTS:
                break
            if at == size:
                at = _restart(vectors, projected, values, rotations)
        vectors[:, at] = torch.where((done | (rest == 0))[:, None], 0.0, image / rest[:, None])
    return found if powers is None else torch.ldexp(found, powers)


def _powers(image: Tensor) -> Tensor:
    """(K,) the power of two above the largest number of a product, so that no square under- or overflows."""
    most = image.abs().amax(1)
    usable = (most > 0) & most.isfinite()
    return torch.where(usable, torch.frexp(torch.where(usable, most, 1.0)).exponent.clamp(-1000, 1000), 0)


def _split(known: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients (K, j) of an image in the known vectors, and what is left; twice, which is enough."""
    first = _times(known, image)
    image = image - _times(known.mT, first)
    second = _times(known, image)
    return first + second, image - _times(known.mT, second)


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """(K, R) of (K, R, C) and (K, C).

    Two columns, not one: a product with one is rounded by how many there are in the stack.
    """
    return torch.bmm(matrices, torch.stack([vectors, vectors], -1))[..., 0]


def _restart(vectors: Tensor, projected: Tensor, values: Tensor, rotations: Tensor) -> int:
    """Keep the directions of the largest eigenvalues in a full basis; how many these are."""
    kept = max(1, vectors.shape[1] // 3)
    vectors[:, :kept] = torch.bmm(rotations[:, :, -kept:].mT, vectors)
    vectors[:, kept:] = 0
    projected.zero_()
    projected.diagonal(dim1=1, dim2=2)[:, :kept] = values[:, -kept:]
    return kept
