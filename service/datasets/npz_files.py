"""Arrays in .npz files: found by their headers, which are read without unpacking, and never unpickled."""

import ast
import io
import math
import re
import struct
import zipfile
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from service.datasets.limits import MAX_ARRAYS, check_count, listed, shown
from service.errors import InvalidDataset

_HEADER_BYTES: Final = 12_000
"""More than NumPy writes or reads as the header of an array."""
_PLAIN_ZIP: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What NumPy writes; other methods may ask for gigabytes before the first byte comes out."""
_LONG_INTEGER: Final = re.compile(r"(?<=\d)L\b")
"""As Python 2 writes the sizes of a shape: (10L, 3L)."""


class Member(NamedTuple):
    """An array of an archive, or what stands in its place."""

    name: str
    info: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype
    by_column: bool
    at: int
    """Where, in the member, the numbers begin."""
    problem: str
    """Why it cannot be read; empty where it can."""


def find_arrays(archive: zipfile.ZipFile) -> list[Member]:
    """The members of an archive by their headers. What macOS and folders add is passed over.

    Raises:
        InvalidDataset: two arrays have one name, or there is none.
        TooLarge: too many members.
    """
    check_count(len(archive.infolist()), MAX_ARRAYS, "members")
    found = list(_members(archive))
    names = [one.name for one in found]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise InvalidDataset(f"two arrays are named {listed(twice)}")
    if not found:
        raise InvalidDataset("the archive holds no arrays: np.savez(file, x=X, y=Y) writes some")
    return found


def read_array(archive: zipfile.ZipFile, member: Member) -> np.ndarray:
    """One array as it was written; its size has been bounded, and reading stops there whatever the archive holds.

    Raises:
        InvalidDataset: it does not hold numbers.
    """
    if member.problem:
        raise InvalidDataset(f"{shown(member.name)} {member.problem}")
    with archive.open(member.info) as file:
        data = file.read(member.info.file_size)
    flat = np.frombuffer(data, member.dtype, offset=member.at)
    return flat.reshape(member.shape, order="F" if member.by_column else "C")


def _members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        parts = info.filename.split("/")
        if info.is_dir() or "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] == ".DS_Store":
            continue
        name = parts[-1].removesuffix(".npy")
        nothing = Member(name, info, (), np.dtype("f8"), by_column=False, at=0, problem="is no array")
        yield _form(archive, nothing) if parts[-1].endswith(".npy") else nothing


def _form(archive: zipfile.ZipFile, member: Member) -> Member:
    """The member with what its header says; only that is unpacked."""
    info = member.info
    if info.compress_type not in _PLAIN_ZIP:
        return member._replace(problem=f"is packed by method {info.compress_type}: use store or deflate")
    with archive.open(info) as file:
        head = io.BytesIO(file.read(_HEADER_BYTES))
    version = npy_format.read_magic(head)
    length_form, length_bytes = ("<H", 2) if version == (1, 0) else ("<I", 4)
    (length,) = struct.unpack(length_form, head.read(length_bytes))
    found = ast.literal_eval(_LONG_INTEGER.sub("", head.read(length).decode("utf-8")))
    shape, dtype = found["shape"], npy_format.descr_to_dtype(found["descr"])
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"{shown(member.name)} has no shape that is a tuple of sizes")
    if dtype.kind not in "fiub":
        labels = " (of labels: np.unique(labels, return_inverse=True)[1])" if dtype.kind in "US" else ""
        return member._replace(shape=shape, problem=f"has dtype {str(dtype)[:50]}, needed are numbers{labels}")
    if info.file_size != head.tell() + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{shown(member.name)} does not hold as many numbers as its shape says")
    return member._replace(shape=shape, dtype=dtype, by_column=bool(found["fortran_order"]), at=head.tell(), problem="")
