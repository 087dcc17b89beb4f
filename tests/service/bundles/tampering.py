"""Bundles as a stranger might hand them over."""

import hashlib
import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from service.bundles import layout


def tampered(file: Path, changes: Mapping[str, bytes | None], *, sums: bool = True) -> Path:
    """A copy with files replaced, added or (None) left out; with digests that fit again, unless told otherwise."""
    with zipfile.ZipFile(file) as archive:
        files = {name: archive.read(name) for name in archive.namelist()} | dict(changes)
    files = {name: content for name, content in files.items() if content is not None}
    if sums:
        files[layout.SUMS] = "".join(
            f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items() if name != layout.SUMS
        ).encode()
    target = file.with_name("tampered.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def with_entry(file: Path, info: zipfile.ZipInfo, content: bytes) -> Path:
    """A copy with one more entry as it is told."""
    target = file.with_name("tampered.zip")
    target.write_bytes(file.read_bytes())
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(info, content)
    return target


def with_directory_size(file: Path, size: int) -> Path:
    """A copy whose end says that its directory has so many bytes."""
    content = bytearray(file.read_bytes())
    place = content.rfind(b"PK\x05\x06")
    struct.pack_into("<I", content, place + 12, size)
    target = file.with_name("tampered.zip")
    target.write_bytes(bytes(content))
    return target


def bomb(size: int) -> bytes:
    """An archive of one file of zeros, packed a thousand times smaller."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("SHA256SUMS", bytes(size))
    return made.getvalue()
