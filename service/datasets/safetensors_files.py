"""Arrays in .safetensors files: a header in JSON, then the numbers; nothing in it can run code.

Source: huggingface.co/docs/safetensors, "Format".
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from service.datasets.csv_text import is_text, packed_as
from service.datasets.limits import MAX_ARRAYS, check_count, shown
from service.errors import InvalidDataset

_MAX_HEADER: Final = 1024 * 1024
_DTYPES: Final = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip


class SafetensorsFile:
    """A .safetensors file whose header has been read.

    Raises:
        InvalidDataset: the header is none, or does not say where every number is.
        TooLarge: too many arrays.
    """

    def __init__(self, content: bytes) -> None:
        length = int.from_bytes(content[:8], "little")
        if len(content) < 8 or length > min(_MAX_HEADER, len(content) - 8):
            raise InvalidDataset(_no_file(content))
        self._data = memoryview(content)[8 + length :]
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_once)
        if not isinstance(header, dict):
            raise InvalidDataset("not a .safetensors file: its header is no mapping of names")
        header.pop("__metadata__", None)
        check_count(len(header), MAX_ARRAYS, "arrays")
        self._entries: dict[str, Mapping[str, Any]] = header
        self.shapes: dict[str, tuple[int, ...]] = {name: _shape(name, entry) for name, entry in header.items()}
        """Shapes of the arrays by name, in the file's order."""
        self._check_places()

    def read(self, name: str) -> np.ndarray:
        """One array as it was written; bfloat16 comes as float32.

        Raises:
            InvalidDataset: it does not hold numbers that NumPy knows.
        """
        entry = self._entries[name]
        if entry["dtype"] not in _DTYPES:
            known = ", ".join(_DTYPES)
            raise InvalidDataset(f"{shown(name)} has dtype {shown(str(entry['dtype']))}; read are {known}")
        start, end = entry["data_offsets"]
        flat = np.frombuffer(self._data[start:end], _DTYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.reshape(self.shapes[name])

    def _check_places(self) -> None:
        """The arrays follow each other from the first byte to the last, without gaps: what the format asks for."""
        reached = 0
        for name, entry in sorted(self._entries.items(), key=lambda one: one[1]["data_offsets"]):
            start, end = entry["data_offsets"]
            size = np.dtype(_DTYPES[entry["dtype"]]).itemsize if entry["dtype"] in _DTYPES else None
            if start != reached or end < start or (size and end - start != size * math.prod(self.shapes[name])):
                raise InvalidDataset(f"{shown(name)} does not hold as many numbers as its shape says")
            reached = end
        if reached != len(self._data):
            raise InvalidDataset(f"the arrays end at byte {reached} of {len(self._data)}: the file was cut or added to")


def _shape(name: str, entry: Any) -> tuple[int, ...]:
    """Shape of an entry of the header, whose other fields are checked too."""
    sizes = [*entry["shape"], *entry["data_offsets"]]
    if len(entry["data_offsets"]) != 2 or not all(type(size) is int and size >= 0 for size in sizes):
        raise InvalidDataset(f"{shown(name)} has no shape and place that are whole numbers")
    if not isinstance(entry["dtype"], str):
        raise InvalidDataset(f"{shown(name)} has no dtype")
    return tuple(entry["shape"])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidDataset("the header of the .safetensors file names an array twice")
    return found


def _no_file(content: bytes) -> str:
    """What a file that is none is instead, and how to send it."""
    arrays = "write x and y into one file: np.savez(file, x=X, y=Y)"
    if (name := packed_as(content)) is not None:
        return f"the body is {name}: {arrays if name in ('.npy', 'HDF5') else 'send what it was made of'}"
    if content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"the body is a pickle, and none is ever read: {arrays}"
    if content and is_text(content[:256]):
        return "the body is text: send a table as text/csv"
    return "not a .safetensors file: it begins with the length of its header, and holds that header"
