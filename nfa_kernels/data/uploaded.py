"""Arrays that the user brings: x (N, ..), y (N, C) and optionally x_test, y_test.

x keeps its shape: rows (N, D), sequences (N, t, D) or images (N, c, h, w); with a vocabulary V it is tokens (N, t),
whole numbers 0 .. V - 1.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from nfa_kernels.data.dataset import Data, split
from nfa_kernels.data.shipped import held_out
from nfa_kernels.random_streams import stream

_FORMS = {2: "(samples, columns)", 3: "(samples, tokens, columns)", 4: "(samples, channels, height, width)"}


def uploaded(
    seed: int,
    arrays: Mapping[str, object],
    vocabulary: int | None = None,
    test_fraction: float | None = None,
) -> Data:
    """The arrays as they are, or split: the seed says which rows are held out and plays no other part.

    Raises:
        ValueError: x or y is missing, empty, of another number of axes, not finite, or their rows differ; tokens that
            are none; a test fraction beside x_test.
    """
    x, y = _pair(arrays, "x", "y", vocabulary)
    if x.shape[0] == 0:
        raise ValueError("x: received no rows, at least one sample is needed")
    if "x_test" not in arrays:
        if test_fraction is None:
            return Data(x, y, x[:0], y[:0])
        tests = held_out(len(x), 0, test_fraction)
        return split(x, y, torch.randperm(len(x), generator=stream("data", seed)), len(x) - tests, tests)
    if test_fraction is not None:
        raise ValueError(f"test_fraction: received {test_fraction} beside x_test; give one of them")
    x_test, y_test = _pair(arrays, "x_test", "y_test", vocabulary)
    if (x_test.shape[1:], y_test.shape[1]) != (x.shape[1:], y.shape[1]):
        raise ValueError(
            f"x_test, y_test: received samples of {_told(x_test)} and {_told(y_test)} columns, "
            f"needed are {_told(x)} and {_told(y)} as in training"
        )
    return Data(x, y, x_test, y_test)


def _told(array: Tensor) -> str:
    """Shape of one sample."""
    return " x ".join(map(str, array.shape[1:]))


def _pair(arrays: Mapping[str, object], x_name: str, y_name: str, vocabulary: int | None) -> tuple[Tensor, Tensor]:
    missing = {x_name, y_name} - set(arrays)
    if missing:
        raise ValueError(f"arrays: received {sorted(arrays)}, missing are {sorted(missing)}")
    x, y = (torch.as_tensor(arrays[name], dtype=torch.float64) for name in (x_name, y_name))
    for name, array, allowed in ((x_name, x, [*_FORMS] if vocabulary is None else [2]), (y_name, y, [2])):
        if array.ndim not in allowed or not bool(array.isfinite().all()):
            needed = " or ".join(_FORMS[axes] for axes in allowed)
            raise ValueError(f"{name}: received shape {tuple(array.shape)}, needed are finite numbers {needed}")
    if x.shape[0] != y.shape[0]:
        raise ValueError(f"{x_name}, {y_name}: received {x.shape[0]} and {y.shape[0]} rows, they must be equal")
    return (x if vocabulary is None else _tokens(x, x_name, vocabulary)), y


def _tokens(x: Tensor, name: str, vocabulary: int) -> Tensor:
    """Whole numbers of a vocabulary, int64."""
    wrong = x[(x != x.round()) | (x < 0) | (x >= vocabulary)]
    if wrong.numel():
        raise ValueError(
            f"{name}: received the token {wrong[0].item():g}, allowed are whole numbers 0 .. {vocabulary - 1}, as "
            f"data.vocabulary = {vocabulary} says"
        )
    return x.to(torch.int64)
