"""The tables that ship inside scikit-learn's wheel, so that nothing is downloaded; read once per process."""

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from nfa_kernels.names import TABLES, share


@cache
def shipped(name: str) -> tuple[Tensor, Tensor]:
    """All rows of a table: inputs (N, D) as they are, targets (N, C), one-hot or numbers; not to be written to.

    Raises:
        ValueError: scikit-learn is not installed.
    """
    try:
        # an optional extra, which only these kinds of data need
        from sklearn import datasets  # noqa: PLC0415
    except ImportError as error:
        raise ValueError(f"{name} needs scikit-learn where trainers run: pip install 'nfa-service[data]'") from error
    # diabetes comes scaled by all of its rows, held out ones included, unless told otherwise
    options = {"scaled": False} if name == "diabetes" else {}
    loaded = getattr(datasets, f"load_{name}")(**options)
    x, targets = torch.from_numpy(loaded.data).to(torch.float64), torch.from_numpy(loaded.target)
    if TABLES[name].names_classes:
        return x, one_hot(targets.long(), TABLES[name].outputs).to(torch.float64)
    return x, targets.to(torch.float64)[:, None]


def held_out(total: int, test_samples: int, test_fraction: float | None) -> int:
    """How many of all rows are held out.

    Raises:
        ValueError: both ways of saying it, a fraction outside 0 .. 1, or no row on one of the two sides.
    """
    if test_fraction is None:
        return test_samples
    if test_samples:
        raise ValueError(f"test_fraction: received {test_fraction} beside test_samples {test_samples}; give one")
    if not 0 < share(total, test_fraction) < total:
        raise ValueError(
            f"test_fraction: received {test_fraction} of {total} rows, at least one is needed on each side"
        )
    return share(total, test_fraction)
