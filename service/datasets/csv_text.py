"""CSV text: as UTF-8, line by line, and a line's cells. What is packed is refused, whatever reader would unpack it."""

import codecs
import csv
import re
from typing import Final

from service.errors import InvalidDataset

PACKED: Final = {
    b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x78\x01": "zlib", b"\x78\x5e": "zlib", b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\xff\x06\x00\x00sNaPpY": "snappy",
    b"\x04\x22\x4d\x18": "lz4", b"\x5d\x00\x00": "lzma", b"\x1f\x9d": "compress", b"7z\xbc\xaf": "7-Zip", b"PK": "zip",
    b"PAR1": "Parquet", b"\x93NUMPY": ".npy", b"\x89HDF": "HDF5", b"ARROW1": "Arrow",
}  # fmt: skip
"""First bytes of what is sometimes sent in place of text."""
DELIMITERS: Final = (",", ";", "\t")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def as_utf8(content: bytes) -> bytes:
    """The text as UTF-8 without a byte order mark."""
    if (name := packed_as(content)) is not None:
        advice = "send the text itself" if name not in ("Parquet", "zip") else "send it with its own content type"
        raise InvalidDataset(f"the body is {name}, not CSV text: {advice}")
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise InvalidDataset("the text is UTF-32: save it as UTF-8")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            content = content.decode("utf-16").encode()
        except UnicodeError as error:
            raise InvalidDataset("the text begins as UTF-16 and is not: save it as UTF-8") from error
    if b"\0" in content:
        line = 1 + content.count(b"\n", 0, content.index(b"\0"))
        raise InvalidDataset(f"line {line} holds a NUL byte: this is no CSV text in UTF-8 (save UTF-16 with its mark)")
    return content.removeprefix(codecs.BOM_UTF8)


def packed_as(content: bytes) -> str | None:
    """What bytes that are no text begin as; None where that is nothing that is known."""
    found = next((name for first, name in PACKED.items() if content.startswith(first)), None)
    return None if found is None or is_text(content[:256]) else found


def is_text(head: bytes) -> bool:
    """Whether bytes are UTF-8 without control characters, but for a letter that the end cuts."""
    text = head.decode("utf-8", "ignore")
    return len(text.encode()) > len(head) - 4 and not _CONTROL.search(text)


def decoded(raw: bytes, line: int) -> str:
    """Bytes that begin in this line, as text. Raises InvalidDataset with the line that is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line += count_lines(raw[: error.start])
        raise InvalidDataset(f"line {line} is not UTF-8: save the file as UTF-8") from error


def count_lines(raw: bytes) -> int:
    """Ends of lines: LF, CR LF, or CR."""
    returns = raw.count(b"\r")
    return raw.count(b"\n") + (returns - raw.count(b"\r\n") if returns else 0)


def cells_of(written: str, delimiter: str, line: int) -> list[str]:
    """The cells of a line, quoted or not; one ends in the line where it begins. Raises InvalidDataset."""
    if '"' not in written:
        return written.split(delimiter)
    try:
        return next(csv.reader([written], delimiter=delimiter, strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise InvalidDataset(
            f"line {line} has a quote that is not closed in it, or something behind one that is ({error})"
        ) from error


def called(delimiter: str) -> str:
    """A delimiter in words."""
    names = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces", "|": "|", ":": "colons"}
    return names.get(delimiter, repr(delimiter))
