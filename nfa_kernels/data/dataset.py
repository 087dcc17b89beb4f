"""What every kind of data returns."""

from typing import NamedTuple

from torch import Tensor


class Data(NamedTuple):
    """Inputs x (N, D) and targets y (N, C), and the same held out; no test set: tensors of 0 rows."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
