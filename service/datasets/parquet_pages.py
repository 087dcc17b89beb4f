"""What the pages of a Parquet column unpack to, by their own headers: the footer may say less than they hold.

A page's header is a struct of Thrift's compact protocol; only its two sizes are read, everything else is skipped.
Source: parquet-format, `PageHeader`; thrift-compact-protocol.md.
"""

from typing import Final

from service.errors import InvalidDataset

_MAX_PAGES: Final = 100_000
_MAX_DEPTH: Final = 8
_BOOLEANS: Final = (1, 2)
_VARINTS: Final = (4, 5, 6)
_FIXED: Final = {3: 1, 7: 8}
_BINARY, _LISTS, _STRUCT = 8, (9, 10), 12


def unpacked_bytes(content: bytes, start: int, end: int) -> int:
    """Sum of the unpacked sizes of the pages between two places of a file.

    Raises:
        InvalidDataset: headers that no writer makes.
        IndexError: a page goes on beyond the file.
    """
    if start < 0:
        raise InvalidDataset("the Parquet file has pages before its beginning")
    total = pages = 0
    while start < end:
        pages += 1
        unpacked, packed, start = _sizes(content, start)
        if unpacked < 0 or packed < 0 or pages > _MAX_PAGES:
            raise InvalidDataset("the Parquet file has pages of no possible size, or too many of them")
        total += unpacked
        start += packed
    return total


def _sizes(content: bytes, at: int) -> tuple[int, int, int]:
    """Unpacked and packed size of the page whose header begins here, and where the header ends."""
    sizes = {2: -1, 3: -1}
    number = 0
    while kind := content[at] & 15:
        number, at = _field(content, at, number)
        if number in sizes and kind in _VARINTS:
            sizes[number], at = _integer(content, at)
        else:
            at = _skipped(content, at, kind, 0)
    return sizes[2], sizes[3], at + 1


def _field(content: bytes, at: int, number: int) -> tuple[int, int]:
    """Number of the field whose header stands here, and where its value begins."""
    step = content[at] >> 4
    return (number + step, at + 1) if step else _integer(content, at + 1)


def _skipped(content: bytes, at: int, kind: int, depth: int) -> int:
    """Where a value ends."""
    if depth > _MAX_DEPTH:
        raise InvalidDataset("the Parquet file has a page header that is nested too deeply")
    if kind in _BOOLEANS:
        return at
    if kind in _FIXED:
        return at + _FIXED[kind]
    if kind in _VARINTS:
        return _varint(content, at)[1]
    if kind == _BINARY:
        length, at = _varint(content, at)
        return at + length
    if kind in _LISTS:
        return _list_end(content, at, depth)
    if kind == _STRUCT:
        number = 0
        while inner := content[at] & 15:
            number, at = _field(content, at, number)
            at = _skipped(content, at, inner, depth + 1)
        return at + 1
    raise InvalidDataset("the Parquet file has a page header of an unknown kind")


def _list_end(content: bytes, at: int, depth: int) -> int:
    size, kind = content[at] >> 4, content[at] & 15
    at += 1
    if size == 15:
        size, at = _varint(content, at)
    for _ in range(min(size, len(content) + 1)):
        # in a list a boolean takes a byte
        at = at + 1 if kind in _BOOLEANS else _skipped(content, at, kind, depth + 1)
        if at > len(content):
            raise IndexError("a list goes on beyond the file")
    return at


def _integer(content: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(content, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise InvalidDataset("the Parquet file has a page header with an endless number")
