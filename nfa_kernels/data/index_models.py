"""Targets that depend on few directions of a Gaussian input: single-index and multi-index models.

Streams: `data` for X, `teacher` for the directions and what combines them, `noise` for E, `test` for everything held
out, so that no setting changes another's draw.
Source: Ben Arous, Gheissari, Jagannath 2021, arXiv:2003.10409; Abbe et al. 2022, arXiv:2202.08658.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nfa_kernels.data.dataset import Data
from nfa_kernels.random_streams import haar_columns, normal, stream

LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "quadratic": torch.square,
    "hermite2": lambda z: (z.square() - 1) / 2**0.5,
    "hermite3": lambda z: (z**3 - 3 * z) / 6**0.5,
}
"""Link functions; the Hermite polynomials have mean 0 and variance 1 under N(0, 1)."""


def single_index(
    seed: int, samples: int = 200, inputs: int = 10, link: str = "hermite2", noise: float = 0.1, test_samples: int = 0
) -> Data:
    """y = link(u . x) + noise E with u uniform on the sphere, one output.

    Raises:
        ValueError: no samples, or an unknown link.
    """
    direction = frame(inputs, 1, stream("teacher", seed))
    function = link_function(link)
    return _drawn(seed, samples, test_samples, inputs, noise, lambda x: function(x @ direction), 1)


def multi_index(
    seed: int,
    samples: int = 200,
    inputs: int = 10,
    outputs: int = 4,
    directions: int = 2,
    link: str = "hermite2",
    noise: float = 0.1,
    test_samples: int = 0,
) -> Data:
    """y = B link(U^T x) / sqrt(r) + noise E with Haar U (D, r) and Gaussian B (C, r), r = directions.

    Raises:
        ValueError: no samples, an unknown link, or more directions than inputs.
    """
    generator = stream("teacher", seed)
    along = frame(inputs, directions, generator)
    mixing = normal((outputs, directions), generator) / directions**0.5
    return _drawn(
        seed, samples, test_samples, inputs, noise, lambda x: link_function(link)(x @ along) @ mixing.mT, outputs
    )


def frame(inputs: int, directions: int, generator: torch.Generator) -> Tensor:
    """U (D, r): the directions, the first that the stream `teacher` draws."""
    return haar_columns(inputs, directions, generator)


def _drawn(
    seed: int,
    samples: int,
    test_samples: int,
    inputs: int,
    noise: float,
    target: Callable[[Tensor], Tensor],
    outputs: int,
) -> Data:
    if samples < 1:
        raise ValueError(f"samples: received {samples}, at least 1 is needed")
    x = normal((samples, inputs), stream("data", seed))
    y = target(x) + noise * normal((samples, outputs), stream("noise", seed))
    generator = stream("test", seed)
    x_test = normal((test_samples, inputs), generator)
    return Data(x, y, x_test, target(x_test) + noise * normal((test_samples, outputs), generator))


def link_function(name: str) -> Callable[[Tensor], Tensor]:
    """The link of this name.

    Raises:
        ValueError: unknown name.
    """
    if name not in LINKS:
        raise ValueError(f"link: received {name!r}, allowed are {', '.join(LINKS)}")
    return LINKS[name]
