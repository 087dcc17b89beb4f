"""The rows of a table as arrays x, y and, where it has such columns, x_test, y_test. Pure."""

from collections.abc import Callable

import numpy as np

from service.datasets.limits import shown
from service.datasets.roles import Picked
from service.errors import InvalidDataset


def without_empty_end(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The rows without those at the end that hold no number at all, as spreadsheets leave them, and a note."""
    last = int(np.flatnonzero(~np.isnan(values).all(axis=1)).max(initial=-1)) + 1
    if last == len(values):
        return values, []
    return values[:last], [f"{len(values) - last} lines at the end hold no number and are left out"]


def split(
    values: np.ndarray, picked: Picked, names: list[str], place_of: Callable[[int], str]
) -> dict[str, np.ndarray]:
    """Arrays by role.

    Training and test columns stand side by side, so the shorter pair may end earlier: its last rows are empty then.

    Args:
        values: (rows, used columns) in the order of the roles; NaN where nothing is said.
        picked: the columns of each role.
        names: of all columns.
        place_of: how the file calls a row.
    Raises:
        InvalidDataset: a number is missing or infinite.
    """
    arrays: dict[str, np.ndarray] = {}
    at = 0
    for role, places in picked.roles.items():
        arrays[role] = values[:, at : at + len(places)]
        at += len(places)
    has_test = bool(picked.roles["x_test"])
    for pair in (("x", "y"), ("x_test", "y_test")) if has_test else (("x", "y"),):
        rows = len(values)
        if has_test:
            said = ~np.all([np.isnan(arrays[role]).all(1) for role in pair], axis=0)
            rows = int(said.nonzero()[0].max(initial=-1)) + 1
        for role in pair:
            arrays[role] = np.ascontiguousarray(arrays[role][:rows])
            _check(arrays[role], role, [names[place] for place in picked.roles[role]], place_of)
    return {role: array for role, array in arrays.items() if picked.roles[role]}


def _check(array: np.ndarray, role: str, names: list[str], place_of: Callable[[int], str]) -> None:
    if not len(array):
        raise InvalidDataset(f"{role} has no rows: a table needs at least one row of numbers below its header")
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        row, column = wrong[0].tolist()
        what = "holds no number" if np.isnan(array[row, column]) else "is infinite"
        more = f" (and {len(wrong) - 1:,} cells more)" if len(wrong) > 1 else ""
        raise InvalidDataset(
            f"{place_of(row)}, column {shown(names[column])} {what}{more}: every cell needs a finite number; fill it "
            "in, or leave the row out"
        )
