"""A noisy linear teacher with chosen singular values.

Y = X A^T + noise E, A = U diag(spectrum) V^T with Haar U (C, R) and V (D, R), E standard normal. Streams: `data` for
X, `teacher` for U and V, `noise` for E, `test` for everything held out, so that no setting changes another's draw.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nfa_kernels.data.dataset import Data
from nfa_kernels.random_streams import haar_columns, normal, stream


def linear_teacher(
    seed: int,
    samples: int = 200,
    inputs: int = 10,
    outputs: int = 4,
    spectrum: Sequence[float] = (3.0, 2.0, 1.5, 1.0),
    noise: float = 0.1,
    covariance: str | Sequence[float] = "identity",
    test_samples: int = 0,
) -> Data:
    """Data of a linear teacher.

    Raises:
        ValueError: no samples, a spectrum longer than min(inputs, outputs), a covariance that is neither "identity",
            "whitened" nor one variance per input, or fewer samples than inputs for "whitened".
    """
    if samples < 1:
        raise ValueError(f"samples: received {samples}, at least 1 is needed")
    if len(spectrum) > min(inputs, outputs):
        raise ValueError(
            f"spectrum: received {len(spectrum)} values, at most min(inputs, outputs) = {min(inputs, outputs)}"
        )
    u, v = frames(seed, inputs, outputs, len(spectrum))
    teacher = u * torch.tensor(list(spectrum), dtype=torch.float64) @ v.mT
    x = _inputs(normal((samples, inputs), stream("data", seed)), covariance, whiten=True)
    y = x @ teacher.mT + noise * normal((samples, outputs), stream("noise", seed))
    if not test_samples:
        return Data(x, y, x[:0], y[:0])
    generator = stream("test", seed)
    x_test = _inputs(normal((test_samples, inputs), generator), covariance, whiten=False)
    y_test = x_test @ teacher.mT + noise * normal((test_samples, outputs), generator)
    return Data(x, y, x_test, y_test)


def frames(seed: int, inputs: int, outputs: int, rank: int) -> tuple[Tensor, Tensor]:
    """U (C, R) and V (D, R): the teacher's singular vectors."""
    generator = stream("teacher", seed)
    return haar_columns(outputs, rank, generator), haar_columns(inputs, rank, generator)


def _inputs(x: Tensor, covariance: str | Sequence[float], *, whiten: bool) -> Tensor:
    """Standard normal x (N, D) given its covariance; only a training sample can be whitened exactly."""
    if covariance == "identity":
        return x
    if covariance == "whitened":
        if not whiten:
            return x
        if x.shape[0] < x.shape[1]:
            raise ValueError(f"samples: received {x.shape[0]}, whitened inputs need at least inputs = {x.shape[1]}")
        # X R^{-1} sqrt(n): the sample itself turned so that X^T X = n I
        return torch.linalg.qr(x).Q * x.shape[0] ** 0.5
    if isinstance(covariance, str) or len(covariance) != x.shape[1]:
        raise ValueError(
            f'covariance: received {covariance!r}, allowed are "identity", "whitened" or {x.shape[1]} variances'
        )
    return x * torch.tensor(list(covariance), dtype=torch.float64).sqrt()
