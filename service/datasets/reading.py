"""Reads an uploaded file: which arrays it holds, what they are taken for, and what is said about that. Pure."""

import io
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from service.datasets.csv_header import read_header
from service.datasets.csv_numbers import read_numbers
from service.datasets.limits import MAX_NUMBERS, check_numbers, shown
from service.datasets.npz_files import find_arrays, read_array
from service.datasets.parquet_tables import ParquetTable
from service.datasets.roles import ROLES, Picked, pick_arrays, pick_columns
from service.datasets.safetensors_files import SafetensorsFile
from service.datasets.tables import split, without_empty_end
from service.datasets.targets import Targets, classification_losses, read_targets
from service.datasets.tokens import token_count
from service.errors import InvalidDataset, UnsupportedMedia

NPZ: Final = "application/x-npz"
CSV: Final = "text/csv"
PARQUET: Final = "application/vnd.apache.parquet"
SAFETENSORS: Final = "application/vnd.safetensors"
MEDIA: Final = (NPZ, CSV, PARQUET, SAFETENSORS)
ANY: Final = "application/octet-stream"
"""Binary of some kind: what its first bytes say, else .safetensors."""
_BEGINNINGS: Final = {b"PK\x03\x04": NPZ, b"PAR1": PARQUET}
_UNREADABLE: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError, pa.ArrowException, ValueError, TypeError,
    SyntaxError, EOFError, OSError, RuntimeError, MemoryError, OverflowError, KeyError, IndexError, AttributeError,
)  # fmt: skip
"""What the readers raise on broken files (RecursionError and NotImplementedError are RuntimeErrors)."""
_LEFT_OUT: Final = 100


@dataclass(frozen=True)
class Wish:
    """What the caller says about a file; nothing: names decide."""

    roles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """x, y, x_test, y_test -> names of columns, or of one array."""
    targets: Targets = "auto"

    def __bool__(self) -> bool:
        return any(self.roles.values()) or self.targets != "auto"

    def written(self) -> str:
        """The wish as text, the same for the same wish."""
        return json.dumps({role: [*self.roles.get(role, ())] for role in ROLES} | {"targets": self.targets})


NOTHING: Final = Wish()


@dataclass(frozen=True)
class Upload:
    """What a file is read as."""

    arrays: Mapping[str, np.ndarray]
    """Name -> float64."""
    columns: Mapping[str, list[str]]
    """Array -> the columns, or the one array, of the file that it was made of."""
    left_out: list[str]
    notes: list[str]
    losses: list[str]
    """Losses over classes that can read the targets."""
    tokens: int | None
    """How many numbers of tokens there are, if x may be tokens."""

    def facts(self) -> dict[str, Any]:
        """What is kept beside the arrays, as plain values."""
        kept = {"columns": self.columns, "left_out": self.left_out, "notes": self.notes}
        return kept | {"losses": self.losses, "tokens": self.tokens}


def read_upload(content: bytes, media: str, wish: Wish = NOTHING, max_numbers: int = MAX_NUMBERS) -> Upload:
    """The arrays of a file.

    Raises:
        UnsupportedMedia: for any other content type.
        InvalidDataset: unreadable, empty, not numbers, not finite, or not clear in what is what.
        TooLarge: more than `max_numbers` numbers, said before they are unpacked.
    """
    readers: dict[str, Callable[[bytes, Wish, int], Upload]] = {
        NPZ: _read_npz,
        CSV: _read_csv,
        PARQUET: _read_parquet,
        SAFETENSORS: _read_safetensors,
    }
    kind = media.partition(";")[0].strip().lower()
    if kind == ANY:
        kind = next((name for magic, name in _BEGINNINGS.items() if content.startswith(magic)), SAFETENSORS)
    if kind not in readers:
        raise UnsupportedMedia(f"received {shown(kind)!r}; an upload is {', '.join(readers)}")
    try:
        return readers[kind](content, wish, max_numbers)
    except _UNREADABLE as error:
        raise InvalidDataset(f"not readable as {kind}: {shown(str(error))}{_other(content, kind)}") from error


def _read_csv(content: bytes, wish: Wish, max_numbers: int) -> Upload:
    sheet = read_header(content)
    picked = pick_columns(sheet.names, wish.roles)
    places = [place for chosen in picked.roles.values() for place in chosen]
    check_numbers({"the table": (sheet.lines, len(places))}, max_numbers)
    found = read_numbers(sheet, places)
    values, notes = without_empty_end(found.values)
    return _table(
        values, picked, sheet.names, lambda row: f"line {found.line_of(row)}", wish, max_numbers, found.notes + notes
    )


def _read_parquet(content: bytes, wish: Wish, max_numbers: int) -> Upload:
    table = ParquetTable(content)
    picked = pick_columns(table.names, wish.roles)
    values = table.read([place for chosen in picked.roles.values() for place in chosen], max_numbers)
    return _table(values, picked, table.names, lambda row: f"row {row + 1}", wish, max_numbers, [])


def _table(
    values: np.ndarray,
    picked: Picked,
    names: list[str],
    place_of: Callable[[int], str],
    wish: Wish,
    max_numbers: int,
    notes: list[str],
) -> Upload:
    arrays = split(values, picked, names, place_of)
    given = {role: arrays[role] for role in ("y", "y_test") if role in arrays}
    # whole numbers in a column of a table are numbers unless it is said that they are labels
    targets, more = read_targets(given, dict.fromkeys(given, ""), wish.targets, max_numbers)
    called = [name or f"column {place + 1} (unnamed)" for place, name in enumerate(names)]
    return _upload(arrays | targets, picked, called, notes + more)


def _read_npz(content: bytes, wish: Wish, max_numbers: int) -> Upload:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {member.name: member for member in find_arrays(archive)}
        shapes = {name: member.shape for name, member in members.items()}
        return _arrays(shapes, lambda name: read_array(archive, members[name]), wish, max_numbers)


def _read_safetensors(content: bytes, wish: Wish, max_numbers: int) -> Upload:
    file = SafetensorsFile(content)
    return _arrays(file.shapes, file.read, wish, max_numbers)


def _arrays(
    shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], np.ndarray], wish: Wish, max_numbers: int
) -> Upload:
    """Data and weights out of a file of named arrays; only what is used is read."""
    names = list(shapes)
    picked = pick_arrays(names, wish.roles)
    used = {role: names[places[0]] for role, places in picked.roles.items()}
    check_numbers({name: shapes[name] for name in used.values()}, max_numbers)
    _check_shapes({role: shapes[name] for role, name in used.items()}, used)
    arrays = {role: read(name) for role, name in used.items()}
    for role, array in arrays.items():
        _check_finite(used[role], array)
    notes: list[str] = []
    for role in ("x", "x_test"):
        if role in arrays:
            arrays[role], told = _inputs(role, used[role], arrays[role])
            notes += told
    given = {role: arrays[role] for role in ("y", "y_test") if role in arrays}
    if given:
        targets, more = read_targets(given, used, wish.targets, max_numbers)
        arrays |= targets
        notes += more
    if "b1" in arrays and "w1" not in arrays:
        raise InvalidDataset("the file has b1 and no w1: initial weights are w1 .. wL, with biases b1 .. bL")
    return _upload({role: array.astype(np.float64) for role, array in arrays.items()}, picked, names, notes)


def _inputs(role: str, name: str, array: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Inputs in the shape in which they are kept, and notes; bytes of three axes are pixels, numbers sequences."""
    notes = []
    if array.ndim == 1:
        return array[:, None], [f"{role}: {len(array)} numbers as one column"]
    if array.ndim == 4 and array.shape[3] in (1, 3, 4) and min(array.shape[1:3]) > 4:
        array = array.transpose(0, 3, 1, 2)
        notes.append(f"{role}: images with their channels last, kept as (n, c, h, w)")
    if array.ndim == 3 and (array.dtype == np.uint8 or name.lower().endswith("images")):
        array = array[:, None]
        notes.append(f"{role}: images of one channel, kept as (n, 1, h, w)")
    if array.ndim > 2:
        notes.append(
            f"{role}: kept as {array.shape}; a fully connected network reads {math.prod(array.shape[1:])} inputs"
        )
    return np.ascontiguousarray(array), notes


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], names: Mapping[str, str]) -> None:
    """Refuse arrays that cannot be what they are taken for, with every reason at once."""
    wrong = [
        f"{shown(names[role])} is {'empty' if shape else 'a single number'}: its shape is {shape}"
        for role, shape in shapes.items()
        if not shape or not math.prod(shape)
    ]
    for role in set(shapes) & {*ROLES}:
        most, what = (4, "(n, d), (n, h, w) or (n, c, h, w)") if role[0] == "x" else (2, "(n, k), or (n,) labels")
        if len(shapes[role]) > most:
            wrong.append(f"{shown(names[role])} has shape {shapes[role]}, needed is {what}")
    for x, y in (("x", "y"), ("x_test", "y_test")):
        if x in shapes and y in shapes and shapes[x][:1] != shapes[y][:1]:
            told = f"{shown(names[x])} {shapes[x]} and {shown(names[y])} {shapes[y]}"
            wrong.append(f"{told} have different numbers of rows")
    for role in ("x", "y"):
        test = f"{role}_test"
        if role in shapes and test in shapes and shapes[role][1:] != shapes[test][1:]:
            told = f"{shown(names[role])} {shapes[role]} and {shown(names[test])} {shapes[test]}"
            wrong.append(f"{told} differ in more than their rows")
    if wrong:
        raise InvalidDataset("; ".join(wrong), errors=[{"path": "", "message": one} for one in wrong])


def _check_finite(name: str, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
        raise InvalidDataset(f"{shown(name)}{list(place)} is {array[place]}; finite numbers are needed")


def _upload(arrays: Mapping[str, np.ndarray], picked: Picked, names: Sequence[str], notes: list[str]) -> Upload:
    targets = {role: arrays[role] for role in ("y", "y_test") if role in arrays}
    left_out = [shown(names[place]) for place in picked.left_out[:_LEFT_OUT]]
    if len(picked.left_out) > _LEFT_OUT:
        left_out.append(f"and {len(picked.left_out) - _LEFT_OUT} more")
    return Upload(arrays, picked.told(names), left_out, notes, classification_losses(targets), token_count(arrays))


def _other(content: bytes, kind: str) -> str:
    """A hint where a file was sent under the content type of another kind."""
    if content.startswith(b"\x93NUMPY"):
        return " (it is one .npy array: np.savez(file, x=X, y=Y) makes an .npz)"
    other = next((name for magic, name in _BEGINNINGS.items() if content.startswith(magic)), kind)
    return "" if other == kind else f" (it looks like {other})"
