"""Targets: whole numbers that name classes become one-hot rows, and losses are told which targets they can read. Pure.

Names decide nothing silently: what was done is a note, and where numbers may be labels as well as quantities the
caller says which, with ?targets=classes or ?targets=numbers.
"""

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

from service.datasets.limits import check_numbers, shown
from service.errors import InvalidDataset

Targets = Literal["auto", "classes", "numbers"]
MAX_CLASSES: Final = 4_096
_FEW: Final = 20
"""So many different whole numbers are labels, however few rows there are."""
_SHOWN: Final = 20


def read_targets(
    given: Mapping[str, np.ndarray], names: Mapping[str, str], how: Targets, max_numbers: int
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Matrices (n, k) in float64 from y and y_test as they were written, and notes on what was done.

    Args:
        given: y and, where there is one, y_test, each (n,) or (n, k).
        names: what the file calls them.
        how: auto makes one-hot rows of whole numbers (n,), and (n, 1) where the file calls them labels.
        max_numbers: in the targets together.
    Raises:
        InvalidDataset: labels that are no whole numbers, or numbers that may be labels as well as quantities.
        TooLarge: too many numbers once they are one-hot.
    """
    if how == "classes" or (how == "auto" and all(_are_labels(array, names[role]) for role, array in given.items())):
        return _one_hot(given, how, max_numbers)
    notes = [f"{role}: {len(array)} numbers as one column" for role, array in given.items() if array.ndim == 1]
    return {role: _matrix(array).astype(np.float64) for role, array in given.items()}, notes


def classification_losses(targets: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the losses over classes that can read these targets: what training would refuse is known before."""
    found: list[str] = []
    parts = list(targets.values())
    if not parts or any(y.ndim != 2 for y in parts):
        return found
    if all(y.shape[1] > 1 and (y >= 0).all() and (abs(y.sum(1) - 1) <= 1e-6).all() for y in parts):
        found.append("cross_entropy")
    if all((((y >= 0) & (y <= 1)) | (y == -1)).all() for y in parts):
        found.append("logistic")
    return found


def _are_labels(array: np.ndarray, name: str) -> bool:
    is_whole = array.dtype.kind in "iub"
    return is_whole and (array.ndim == 1 or (array.shape[1:] == (1,) and name.lower().endswith(("label", "labels"))))


def _one_hot(
    given: Mapping[str, np.ndarray], how: Targets, max_numbers: int
) -> tuple[dict[str, np.ndarray], list[str]]:
    labels = {role: _labels(role, array) for role, array in given.items()}
    values = np.unique(np.concatenate(list(labels.values())))
    rows = len(labels["y"])
    if how == "auto" and len(values) > _FEW and 2 * len(values) > rows:
        raise InvalidDataset(
            f"y holds {len(values):,} different whole numbers in {rows:,} rows: say ?targets=numbers for quantities to "
            "fit, or ?targets=classes for labels to make one-hot"
        )
    if len(values) > MAX_CLASSES:
        raise InvalidDataset(
            f"y names {len(values):,} classes, allowed are {MAX_CLASSES:,}; ?targets=numbers fits numbers"
        )
    check_numbers({role: (len(one), len(values)) for role, one in labels.items()}, max_numbers)
    told = ", ".join(f"{value:g}" for value in values[:_SHOWN].tolist()) + (", .." if len(values) > _SHOWN else "")
    made = {}
    for role, one in labels.items():
        made[role] = np.zeros((len(one), len(values)))
        made[role][np.arange(len(one)), np.searchsorted(values, one)] = 1
    return made, [
        f"{' and '.join(labels)}: labels made one-hot, {len(values)} classes: {told} (?targets=numbers keeps them)"
    ]


def _labels(role: str, array: np.ndarray) -> np.ndarray:
    """(n,) whole numbers."""
    if not (array.ndim == 1 or array.shape[1:] == (1,)):
        raise InvalidDataset(f"{shown(role)} has shape {array.shape}: labels are one whole number per row")
    flat = array.reshape(-1)
    if array.dtype.kind == "f" and not (np.floor(flat) == flat).all():
        raise InvalidDataset(f"{shown(role)} holds numbers that are not whole: labels are whole numbers")
    return flat


def _matrix(array: np.ndarray) -> np.ndarray:
    return array[:, None] if array.ndim == 1 else array
