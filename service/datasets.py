"""Reads uploaded arrays: .npz, CSV or Parquet, never unpickled, bounded in size, finite. Pure."""

import io
import zipfile
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.lib import format as npy_format

from service.errors import InvalidDataset, TooLarge, UnsupportedMedia

MAX_NUMBERS = 100_000_000
MAX_ARRAYS = 256
NPZ, CSV, PARQUET = "application/x-npz", "text/csv", "application/vnd.apache.parquet"


def read_dataset(content: bytes, media: str) -> dict[str, np.ndarray]:
    """Arrays in float64 by name.

    A table (CSV, Parquet) has columns named x.. and y..: the first become the columns of x, the others of y.

    Raises:
        UnsupportedMedia: for any other content type.
        InvalidDataset: unreadable, empty, not numbers, or not finite.
        TooLarge: more numbers than allowed, said before they are unpacked.
    """
    match media.partition(";")[0].strip().lower():
        case "application/x-npz":
            arrays = _read_npz(content)
        case "text/csv":
            arrays = _read_table(lambda: pl.read_csv(io.BytesIO(content)))
        case "application/vnd.apache.parquet":
            arrays = _read_table(lambda: pl.read_parquet(io.BytesIO(content)))
        case other:
            raise UnsupportedMedia(f"received {other[:100]!r}; an upload is {NPZ}, {CSV} or {PARQUET}")
    _check(arrays)
    return arrays


def _read_npz(content: bytes) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _bound(sum(member.file_size for member in members) // 8, len(members))
            return {member.filename.removesuffix(".npy"): _read_npy(archive, member) for member in members}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise InvalidDataset(f"not a readable .npz of plain arrays: {str(error)[:200]}") from error


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array; the declared size has been bounded, and reading stops there whatever the archive holds."""
    with archive.open(member) as file:
        data = io.BytesIO(file.read(member.file_size))
    array = npy_format.read_array(data, allow_pickle=False)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{member.filename[:100]} has dtype {array.dtype}, needed are numbers")
    return array.astype(np.float64)


def _read_table(read: object) -> dict[str, np.ndarray]:
    try:
        frame: pl.DataFrame = read()  # ty: ignore[not-callable]
        _bound(frame.height * frame.width, frame.width)
        arrays = {}
        for name in ("x", "y"):
            columns = [column for column in frame.columns if column.startswith(name)]
            if not columns:
                raise InvalidDataset(f"a table needs columns x.. and y..; it has {', '.join(frame.columns)[:200]}")
            arrays[name] = frame.select(pl.col(columns).cast(pl.Float64)).to_numpy()
        return arrays
    except (pl.exceptions.PolarsError, ValueError, OSError) as error:
        raise InvalidDataset(f"not a readable table of numbers: {str(error)[:200]}") from error


def _bound(numbers: int, arrays: int) -> None:
    if numbers > MAX_NUMBERS or arrays > MAX_ARRAYS:
        raise TooLarge(f"{numbers} numbers in {arrays} arrays are over the limit of {MAX_NUMBERS} in {MAX_ARRAYS}")


def _check(arrays: Mapping[str, np.ndarray]) -> None:
    if not arrays:
        raise InvalidDataset("the file holds no arrays")
    for name, array in arrays.items():
        if not name.isidentifier() or len(name) > 64:
            raise InvalidDataset(f"array name {name[:64]!r}: allowed are letters, digits and _, at most 64")
        if array.size == 0 or not np.isfinite(array).all():
            raise InvalidDataset(f"{name}: of shape {array.shape} is empty or not finite; finite numbers are needed")
