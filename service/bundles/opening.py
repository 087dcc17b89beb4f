"""Opens a bundle from anybody's hand: an archive is data, bounded before it is unpacked into a folder of its own.

Nothing is unpickled, links and names that lead elsewhere are refused, and no file may be larger than the archive's
directory says, nor the whole larger than was allowed.
"""

import contextlib
import hashlib
import json
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from service.bundles import layout
from service.errors import InvalidBundle
from service.grid.document import MAX_NESTING

MOST_BYTES: Final = 32 << 30
"""Of all files together, unpacked; what a bundle of 100,000 trials with their weights takes."""
MOST_FILES: Final = 250_000
_MOST_RATIO: Final = 250
"""How many times larger than its packed form a file may be, beyond the first MiB: text of ours packs to a tenth."""
_DOCUMENT_BYTES: Final = 64 << 20
_MOST_NESTING: Final = 2 * MAX_NESTING
"""Grids have half of it, and stand a few levels deep in what is said of trials."""
_DIRECTORY_BYTES: Final = 64 << 20
_PIECE: Final = 1 << 20
_SUM: Final = re.compile(r"([0-9a-f]{64})  (\S+)")
_UNREADABLE: Final = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, MemoryError, OverflowError, KeyError,
)  # fmt: skip
"""What zipfile raises on broken archives (NotImplementedError is a RuntimeError)."""


@dataclass(frozen=True)
class Opened:
    """An unpacked bundle whose files are what its digests say."""

    folder: Path
    digest: str
    """SHA-256 of the archive."""
    sums: Mapping[str, str]
    """File -> its SHA-256."""
    experiments: tuple[str, ...]

    def document(self, name: str) -> Any:
        """A JSON file of the bundle. Raises InvalidBundle."""
        return parse(self.content(name), name)

    def content(self, name: str) -> bytes:
        """A file that is read whole. Raises InvalidBundle where there is none, or one too large for that."""
        path = self.path(name)
        if path.stat().st_size > _DOCUMENT_BYTES:
            raise InvalidBundle(f"{name} has {path.stat().st_size:,} bytes, over the limit of {_DOCUMENT_BYTES:,}")
        return path.read_bytes()

    def path(self, name: str) -> Path:
        """Where a file lies. Raises InvalidBundle where there is none."""
        if name not in self.sums and name != layout.SUMS:
            raise InvalidBundle(
                f"the bundle has no {name}: it is not whole, or no bundle; make it anew with nfa bundle"
            )
        return self.folder / name


def parse(content: bytes, name: str) -> Any:
    """JSON without numbers that are none, and without characters that no database keeps. Raises InvalidBundle."""
    try:
        if b"\\u0000" in content:
            raise ValueError("it holds a NUL character")
        found = json.loads(content, parse_constant=_refuse_constant)
        # lone surrogates are no text, and 1e999 is no number
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
        _refuse_deep(found)
        return found
    except (ValueError, RecursionError) as error:
        raise InvalidBundle(f"{name} is no readable JSON: {str(error)[:200]}") from error


def _refuse_deep(document: Any) -> None:
    """What is nested deeper than any answer could be written."""
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(_MOST_NESTING):
        inside = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        level = [one for one in inside if isinstance(one, dict | list)]
        if not level:
            return
    raise ValueError(f"nested more than {_MOST_NESTING} levels deep")


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no number in JSON")


@contextlib.contextmanager
def opened(file: Path, most_bytes: int = MOST_BYTES) -> Generator[Opened]:
    """A bundle, unpacked into a folder of its own that goes with the block.

    Raises:
        InvalidBundle: broken, too large, not whole, changed, or not of a form that this version reads.
    """
    if not file.is_file():
        raise InvalidBundle(f"{file} is not a file: name what `nfa bundle` wrote")
    with tempfile.TemporaryDirectory(prefix="nfa-bundle-") as name:
        folder = Path(name)
        try:
            sums = _unpacked(file, folder, most_bytes)
        except _UNREADABLE as error:
            raise InvalidBundle(f"{file.name} is no readable ZIP archive: {str(error)[:200]}") from error
        _check_sums(folder, sums)
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        yield Opened(folder, digest, sums, _experiments(folder, sums))


def _unpacked(file: Path, folder: Path, most_bytes: int) -> dict[str, str]:
    """Unpack every file; answers their digests."""
    _check_directory(file)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        _check_entries(entries, file.stat().st_size, min(most_bytes, shutil.disk_usage(folder).free))
        return {entry.filename: _copied(archive, entry, folder / entry.filename) for entry in entries}


def _check_directory(file: Path) -> None:
    """Refuse a directory that would not fit memory, before zipfile reads it whole."""
    with file.open("rb") as content:
        content.seek(max(0, file.stat().st_size - (1 << 16) - 22))
        end = content.read()
    place = end.rfind(b"PK\x05\x06")
    size = int.from_bytes(end[place + 12 : place + 16], "little")
    if size == 0xFFFFFFFF:
        wide = end.rfind(b"PK\x06\x06")
        size = int.from_bytes(end[wide + 40 : wide + 48], "little") if wide >= 0 else size
    if place >= 0 and size > _DIRECTORY_BYTES:
        raise InvalidBundle(f"its directory has {size:,} bytes, over the limit of {_DIRECTORY_BYTES:,}")


def _check_entries(entries: list[zipfile.ZipInfo], file_bytes: int, most_bytes: int) -> None:
    """Refuse what no bundle has, by what the directory says; unpacking stops where the directory lied."""
    if len(entries) > MOST_FILES:
        raise InvalidBundle(f"it holds {len(entries):,} files, over the limit of {MOST_FILES:,}")
    if len({entry.filename.lower() for entry in entries}) < len(entries):
        raise InvalidBundle("two of its files have one name")
    for entry in entries:
        name, mode = entry.filename, entry.external_attr >> 16
        if not layout.NAME.fullmatch(name):
            raise InvalidBundle(f"it holds a file called {name[:100]!a}: names are plain, and lead nowhere else")
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InvalidBundle(f"{name} is encrypted, or packed by a method that bundles do not use")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise InvalidBundle(f"{name} is a link or no plain file")
        if entry.file_size > entry.compress_size * _MOST_RATIO + (1 << 20):
            raise InvalidBundle(
                f"{name} would unpack to {entry.file_size:,} bytes from {entry.compress_size:,}: refused"
            )
    if sum(entry.compress_size for entry in entries) > file_bytes:
        raise InvalidBundle("its files overlap each other")
    total = sum(entry.file_size for entry in entries)
    if total > most_bytes:
        raise InvalidBundle(f"it would unpack to {total:,} bytes, and {most_bytes:,} are allowed or free here")


def _copied(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> str:
    """Unpack a file; answers its digest. zipfile stops at the size that the directory names, and checks its CRC."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(entry) as packed, target.open("xb") as file:
        while piece := packed.read(_PIECE):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _check_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Hold every file against SHA256SUMS."""
    if layout.SUMS not in sums:
        raise InvalidBundle(f"it has no {layout.SUMS}: it is no bundle, or not whole")
    told: dict[str, str] = {}
    for line in (folder / layout.SUMS).read_text(errors="replace").splitlines():
        found = _SUM.fullmatch(line)
        if found is None:
            raise InvalidBundle(f"{layout.SUMS} has a line that is none: {line[:100]!a}")
        told[found[2]] = found[1]
    real = {name: digest for name, digest in sums.items() if name != layout.SUMS}
    wrong = {
        "changed": [name for name in real if name in told and told[name] != real[name]],
        "missing": sorted(told.keys() - real.keys()),
        "not named in its sums": sorted(real.keys() - told.keys()),
    }
    for word, names in wrong.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InvalidBundle(f"{word}: {', '.join(names[:3])}{more}; ask for the bundle anew")


def _experiments(folder: Path, sums: Mapping[str, str]) -> tuple[str, ...]:
    """The experiments that it says it holds."""
    about = parse((folder / layout.ABOUT).read_bytes()[:_PIECE], layout.ABOUT) if layout.ABOUT in sums else None
    form = about.get("format") if isinstance(about, dict) else None
    if not isinstance(about, dict) or form != layout.FORMAT:
        raise InvalidBundle(
            f"it is of form {form!r}, this version reads form {layout.FORMAT}: use the version it is from"
        )
    names = about.get("experiments")
    if not isinstance(names, list) or not names or not all(re.fullmatch(r"e[1-9]\d{0,17}", str(one)) for one in names):
        raise InvalidBundle(f"{layout.ABOUT} names no experiments")
    return tuple(dict.fromkeys(names))
