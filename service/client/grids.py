"""Grids as a notebook has them: NumPy and pandas numbers, arrays and ranges become the numbers they are."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from service.client.transport import ClientError

Grid = Mapping[str, Any] | str | bytes | Path
"""A grid: a mapping, YAML or JSON text, or the path of a file of either."""
Seeds = int | np.integer | Sequence[int] | np.ndarray
"""n for the seeds 0 .. n-1, or a list of them."""
_ENDINGS: Final = (".yaml", ".yml", ".json")
_AMONG_LAYERS: Final = re.compile(r"(?:^|\.)layers(?:\[[0-9]+\])?$")
"""Places whose keys are layers, which numbers name."""
_LONGEST_PATH: Final = 1_000


def body_of(grid: Grid) -> tuple[bytes, str]:
    """A request's body and its media type; YAML text covers JSON text.

    Raises:
        ClientError: it is no grid, holds a value that no grid can hold, or is a file that cannot be read.
    """
    if isinstance(grid, Mapping):
        return json_of(grid), "application/json"
    if isinstance(grid, Path):
        return read_file(grid), "application/yaml"
    if isinstance(grid, str):
        _refuse_path(grid)
        return grid.encode("utf-8", "surrogatepass"), "application/yaml"
    if isinstance(grid, bytes | bytearray):
        return bytes(grid), "application/yaml"
    raise wrong("", f"a grid is a mapping, YAML or JSON text, or a Path; received {_kind(grid)}")


def json_of(document: Mapping[str, Any]) -> bytes:
    """A mapping as JSON. Raises ClientError."""
    return json.dumps(plain(document, "")).encode()


def plain(value: Any, place: str) -> Any:
    """A value as JSON can hold it: arrays, series, ranges and tuples as lists, their members as plain numbers.

    Args:
        value: what the notebook has.
        place: where it stands, for the refusal.
    Raises:
        ClientError: something else stands there.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return _scalar(value)
    if isinstance(value, np.generic | np.ndarray) or hasattr(value, "__array__"):
        return _from_array(value, place)
    if isinstance(value, Mapping):
        return {_key(key, place): plain(inner, f"{place}.{key}" if place else str(key)) for key, inner in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain(inner, f"{place}[{number}]") for number, inner in enumerate(value)]
    told = f"is {_kind(value)}; a grid holds numbers, words, lists, mappings, arrays and None"
    raise wrong(place, told + (": write list(..) around it" if isinstance(value, Iterable) else ""))


def read_file(path: Path) -> bytes:
    """A file's content. Raises ClientError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise wrong("", f"{path} cannot be read: {error.strerror or error}") from error


def wrong(place: str, message: str) -> ClientError:
    """The refusal of something that was not sent, because it could not be meant."""
    told = f"{place} {message}" if place else message
    errors = [{"path": place, "message": message}]
    return ClientError({"code": "not_sent", "title": "This cannot be sent", "detail": told, "errors": errors})


def _scalar(value: Any) -> Any:
    """A number or word without the subclass that it may have."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _from_array(value: Any, place: str) -> Any:
    """What an array, a series or one of their scalars holds."""
    for scalar, kind in ((np.bool_, bool), (np.integer, int), (np.floating, float)):
        if isinstance(value, scalar):
            return kind(value)
    try:
        array = value if isinstance(value, np.ndarray | np.generic) else np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise wrong(place, f"is {_kind(value)}, which is no array of numbers: {error}") from error
    # times are whole numbers inside, and records are no lists
    if array.dtype.kind in "mMV":
        raise wrong(place, f"is {_kind(value)} of {array.dtype}; a grid holds numbers and words")
    return plain(array.tolist(), place)


def _key(key: Any, place: str) -> str:
    """A word; among layers also a number, as JSON can hold it."""
    is_number = isinstance(key, int | np.integer) and not isinstance(key, bool)
    if not (isinstance(key, str) or (is_number and _AMONG_LAYERS.search(place))):
        raise wrong(place, f"has the key {key!r:.50}; keys are words")
    return str(key)


def _refuse_path(text: str) -> None:
    """Refuse the name of a file where a grid's text is expected."""
    name = text.strip()
    if "\n" in name or len(name) > _LONGEST_PATH or not name:
        return
    try:
        is_file = Path(name).is_file()
    except (OSError, ValueError):
        return
    if is_file or (name.lower().endswith(_ENDINGS) and ": " not in name and name[0] not in "{["):
        missing = "" if is_file else ", and there is no such file here"
        raise wrong("", f"{name!r} is the name of a file{missing}, not a grid's text: give Path({name!r})")


def _kind(value: Any) -> str:
    """A value's type, as a message names it."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
