"""One random stream per purpose and seed, so that a trial's numbers depend on nothing else.

Neither the stack a trial is trained in, nor the device, nor the order of drawing, nor any setting enters a stream:
trials of one seed share data and initial weights, which makes comparisons between settings paired.
"""

import hashlib

import torch
from torch import Tensor


def stream(purpose: str, seed: int) -> torch.Generator:
    """A CPU generator for one purpose, such as "data" or "init/2", of one seed >= 0."""
    digest = hashlib.sha256(f"nfa/1/{purpose}/{seed}".encode()).digest()
    return torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard normal numbers, float64, on the CPU."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def haar_columns(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Orthonormal columns, Haar distributed: (rows, columns), columns <= rows.

    Source: Mezzadri 2007, Notices AMS 54(5): the QR factor of a Gaussian matrix with the signs of R fixed.
    """
    if columns > rows:
        raise ValueError(f"columns: received {columns}, at most rows = {rows} orthonormal columns exist")
    orthogonal, upper = torch.linalg.qr(normal((rows, columns), generator))
    return orthogonal * torch.where(upper.diagonal() < 0, -1.0, 1.0)
