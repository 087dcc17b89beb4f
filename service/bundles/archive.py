"""A ZIP archive that is read while it is written: nothing of it is kept, but names, sizes and digests."""

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

from service.api.exports import Sink

_PACKED: Final = (".json", ".ndjson", ".md", ".bib", ".cff", "SHA256SUMS")
_READABLE: Final = 0o644 << 16


class Written(NamedTuple):
    """A file that is in the archive."""

    size: int
    sha256: str
    about: str
    """What it is, for people."""


class Archive:
    """Files one after another; `files` says which are in it so far."""

    def __init__(self, at: datetime) -> None:
        self.files: dict[str, Written] = {}
        self._sink = Sink()
        self._zip = zipfile.ZipFile(self._sink, "w")  # type: ignore[arg-type]
        self._at = at.timetuple()[:6]

    def add(self, name: str, about: str, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Write a file and hand on what has come of it so far, again and again."""
        info = zipfile.ZipInfo(name, self._at)
        # Parquet, PDF and .npz are packed by themselves, and weights do not pack
        info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(_PACKED) else zipfile.ZIP_STORED
        info.external_attr = _READABLE
        digest, size = hashlib.sha256(), 0
        with self._zip.open(info, "w", force_zip64=True) as file:
            for part in parts:
                file.write(part)
                digest.update(part)
                size += len(part)
                yield self._sink.take()
        self.files[name] = Written(size, digest.hexdigest(), about)
        yield self._sink.take()

    def close(self) -> bytes:
        """Write the directory, without which the archive is no archive."""
        self._zip.close()
        return self._sink.take()

    def abandon(self) -> None:
        """Leave it as it is, without an end; nothing after the end was written."""
        self._zip.fp = None
