"""Reads uploaded arrays: .npz, CSV or Parquet, never unpickled, bounded in size, finite. Pure."""

import ast
import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy_format

from service.errors import InvalidDataset, TooLarge, UnsupportedMedia

MAX_NUMBERS: Final = 8 * 2**20
MAX_ARRAYS: Final = 256
_HEADER_BYTES: Final = 12_000
"""More than NumPy writes or reads as the header of an array."""
_PLAIN_ZIP: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What NumPy writes; other methods may ask for gigabytes before the first byte comes out."""
_UNREADABLE: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError, ValueError, TypeError, SyntaxError, EOFError,
    OSError, RuntimeError, MemoryError, OverflowError, KeyError, IndexError, AttributeError,
)  # fmt: skip
"""What the readers raise on broken files (RecursionError and NotImplementedError are RuntimeErrors)."""
NPZ, CSV, PARQUET = "application/x-npz", "text/csv", "application/vnd.apache.parquet"


def read_dataset(content: bytes, media: str, max_numbers: int = MAX_NUMBERS) -> dict[str, np.ndarray]:
    """Arrays in float64 by name.

    A table (CSV, Parquet) has columns named x.. and y..: the first become the columns of x, the others of y.

    Raises:
        UnsupportedMedia: for any other content type.
        InvalidDataset: unreadable, empty, not numbers, or not finite.
        TooLarge: more than `max_numbers` numbers, said before they are unpacked.
    """
    match media.partition(";")[0].strip().lower():
        case "application/x-npz":
            arrays = _read_npz(content, max_numbers)
        case "text/csv":
            arrays = _read_table(lambda: _read_csv(content, max_numbers))
        case "application/vnd.apache.parquet":
            arrays = _read_table(lambda: _read_parquet(content, max_numbers))
        case other:
            raise UnsupportedMedia(f"received {other[:100]!r}; an upload is {NPZ}, {CSV} or {PARQUET}")
    _check(arrays)
    return arrays


def _read_npz(content: bytes, max_numbers: int) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _bound(0, len(members), max_numbers)
            forms = [_npy_form(archive, member) for member in members]
            _bound(sum(math.prod(shape) for shape, *_ in forms), len(members), max_numbers)
            return {
                member.filename.removesuffix(".npy"): _read_npy(archive, member, *form)
                for member, form in zip(members, forms, strict=True)
            }
    except _UNREADABLE as error:
        raise InvalidDataset(f"not a readable .npz of plain arrays: {str(error)[:200]}") from error


def _npy_form(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether columns come first, dtype and where the numbers begin; only the array's header is unpacked."""
    if member.compress_type not in _PLAIN_ZIP:
        raise ValueError(f"{member.filename[:100]} is packed by method {member.compress_type}: use store or deflate")
    with archive.open(member) as file:
        head = io.BytesIO(file.read(_HEADER_BYTES))
    version = npy_format.read_magic(head)
    length_form, length_bytes = ("<H", 2) if version == (1, 0) else ("<I", 4)
    (length,) = struct.unpack(length_form, head.read(length_bytes))
    found = ast.literal_eval(head.read(length).decode("utf-8"))
    shape, dtype = found["shape"], npy_format.descr_to_dtype(found["descr"])
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"{member.filename[:100]} has no shape that is a tuple of sizes")
    if dtype.kind not in "fiub":
        raise ValueError(f"{member.filename[:100]} has dtype {str(dtype)[:50]}, needed are numbers")
    if member.file_size != head.tell() + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{member.filename[:100]} does not hold as many numbers as its shape says")
    return shape, bool(found["fortran_order"]), dtype, head.tell()


def _read_npy(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, shape: tuple[int, ...], by_column: bool, dtype: np.dtype, at: int
) -> np.ndarray:
    """One array; its size has been bounded, and reading stops there whatever the archive holds."""
    with archive.open(member) as file:
        data = file.read(member.file_size)
    flat = np.frombuffer(data, dtype, offset=at)
    return flat.reshape(shape, order="F" if by_column else "C").astype(np.float64)


def _read_csv(content: bytes, max_numbers: int) -> pl.DataFrame:
    _bound(0, content.partition(b"\n")[0].count(b",") + 1, max_numbers)
    _bound(content.count(b",") + content.count(b"\n"), 1, max_numbers)
    return pl.read_csv(io.BytesIO(content))


def _read_parquet(content: bytes, max_numbers: int) -> pl.DataFrame:
    """A table of numbers; its size is known from the footer, before anything is unpacked."""
    file = pq.ParquetFile(io.BytesIO(content))
    form = file.metadata
    groups = [form.row_group(one) for one in range(min(form.num_row_groups, max_numbers))]
    _bound(max(form.num_rows, sum(one.num_rows for one in groups)) * form.num_columns, form.num_columns, max_numbers)
    _bound(sum(one.total_byte_size for one in groups) // 16, 1, max_numbers)
    if wrong := [one.name for one in file.schema_arrow if not _is_number(one.type)]:
        raise InvalidDataset(f"a table of numbers is needed; these columns are something else: {str(wrong)[:200]}")
    table = file.read()
    return pl.DataFrame({name: table[name].to_numpy() for name in table.column_names})


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _read_table(read: Callable[[], pl.DataFrame]) -> dict[str, np.ndarray]:
    try:
        frame = read()
        arrays = {}
        for name in ("x", "y"):
            columns = [column for column in frame.columns if column.startswith(name)]
            if not columns:
                raise InvalidDataset(f"a table needs columns x.. and y..; it has {', '.join(frame.columns)[:200]}")
            arrays[name] = frame.select(pl.col(columns).cast(pl.Float64)).to_numpy()
        return arrays
    except (pl.exceptions.PolarsError, pa.ArrowException, *_UNREADABLE) as error:
        raise InvalidDataset(f"not a readable table of numbers: {str(error)[:200]}") from error


def _bound(numbers: int, arrays: int, max_numbers: int) -> None:
    if numbers > max_numbers or arrays > MAX_ARRAYS:
        raise TooLarge(f"{numbers} numbers in {arrays} arrays are over the limit of {max_numbers} in {MAX_ARRAYS}")


def _check(arrays: Mapping[str, np.ndarray]) -> None:
    if not arrays:
        raise InvalidDataset("the file holds no arrays")
    for name, array in arrays.items():
        if not name.isidentifier() or len(name) > 64:
            raise InvalidDataset(f"array name {name[:64]!r}: allowed are letters, digits and _, at most 64")
        if array.size == 0 or not np.isfinite(array).all():
            raise InvalidDataset(f"{name}: of shape {array.shape} is empty or not finite; finite numbers are needed")
