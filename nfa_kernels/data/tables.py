"""The tables of scikit-learn: iris, wine and breast_cancer with one-hot classes, diabetes with one number to predict.

Rows are put in an order drawn from the stream `data`; the last of them are held out. Standardised columns have mean 0
and variance 1 over the training rows alone, and held out rows are moved by the same numbers; a constant column is only
centred. The number to predict of diabetes is standardised like the inputs, classes are left as they are.
Source: scikit-learn's toy data sets, scikit-learn.org/stable/datasets/toy_dataset.html.
"""

from functools import partial

import torch
from torch import Tensor

from nfa_kernels.data.dataset import Data, split
from nfa_kernels.data.shipped import held_out, shipped
from nfa_kernels.names import TABLES
from nfa_kernels.random_streams import stream

_CONSTANT = 1e-12
"""A deviation this small against the mean is rounding."""


def table(
    seed: int, name: str, standardise: bool = True, test_samples: int = 0, test_fraction: float | None = None
) -> Data:
    """Every row of a table, those that are not held out for training.

    Raises:
        ValueError: no row is left to train on, or scikit-learn is not installed.
    """
    x, y = shipped(name)
    total, tests = len(x), held_out(len(x), test_samples, test_fraction)
    if not 0 <= tests < total:
        raise ValueError(f"test_samples: received {tests}, allowed are 0 .. {total - 1} of the {total} rows of {name}")
    found = split(x, y, torch.randperm(total, generator=stream("data", seed)), total - tests, tests)
    if not standardise:
        return found
    x, x_test = _standardised(found.x, found.x_test)
    y, y_test = found.y, found.y_test
    if not TABLES[name].names_classes:
        y, y_test = _standardised(y, y_test)
    return Data(x, y, x_test, y_test)


def _standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Both (N, D) moved by the training rows' means and divided by their standard deviations."""
    mean, deviation = train.mean(0), train.std(0, correction=0)
    scale = torch.where(deviation > _CONSTANT * mean.abs(), deviation, 1.0)
    return (train - mean) / scale, (test - mean) / scale


iris, wine = partial(table, name="iris"), partial(table, name="wine")
breast_cancer, diabetes = partial(table, name="breast_cancer"), partial(table, name="diabetes")
