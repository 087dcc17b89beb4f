"""What every kind of data returns, and how a finite set is split."""

from typing import NamedTuple

from torch import Tensor


class Data(NamedTuple):
    """Inputs x (N, ..) and targets y (N, C), and the same held out; no test set: tensors of 0 rows.

    x is (N, D), images (N, c, h, w) or sequences (N, t, D), all float64, or tokens (N, t), int64.
    """

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor


def split(x: Tensor, y: Tensor, order: Tensor, samples: int, test_samples: int) -> Data:
    """The first rows in this order for training, the following ones held out."""
    train, test = order[:samples], order[samples : samples + test_samples]
    return Data(x[train], y[train], x[test], y[test])
