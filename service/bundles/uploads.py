"""Uploaded data inside a bundle: bounded, never unpickled, and known by what is measured of them here."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from service.bundles import layout
from service.bundles.opening import Opened
from service.datasets.limits import MAX_NUMBERS, check_numbers
from service.datasets.npz_files import find_arrays, read_array
from service.datasets.targets import classification_losses
from service.datasets.tokens import token_count
from service.errors import InvalidBundle, ServiceError
from service.store.datasets import add_dataset
from service.store.session import Store

_FACTS: Final = ("columns", "left_out", "notes")


class _Known(BaseModel):
    """What a bundle says of an upload; shapes and losses are read off the arrays."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    name: str = Field(max_length=500)
    facts: dict[str, Any] | None = None


def import_datasets(store: Store, bundle: Opened, owner: str) -> None:
    """Add those that the store has not, as an owner's. Raises InvalidBundle."""
    for name in sorted(bundle.sums):
        if name.startswith("datasets/") and name.endswith(".json"):
            _import(store, bundle, name, owner)


def _import(store: Store, bundle: Opened, name: str, owner: str) -> None:
    try:
        known = _Known.model_validate(bundle.document(name))
    except ValidationError as error:
        raise InvalidBundle(f"{name}: {error.errors()[0]['msg']}") from error
    arrays = read_arrays(bundle, layout.dataset_files(known.sha256)[0])
    told = {key: value for key, value in (known.facts or {}).items() if key in _FACTS}
    told["losses"] = classification_losses({key: arrays[key] for key in ("y", "y_test") if key in arrays})
    told["tokens"] = token_count(arrays)
    told["notes"] = [*(told.get("notes") or ()), f"imported from bundle {bundle.digest}"]
    add_dataset(store, known.sha256, known.name, arrays, told, owner=owner)


def read_arrays(bundle: Opened, name: str) -> Mapping[str, np.ndarray]:
    """The arrays of an upload, as float64. Raises InvalidBundle."""
    try:
        with zipfile.ZipFile(io.BytesIO(bundle.path(name).read_bytes())) as archive:
            members = find_arrays(archive)
            check_numbers({one.name: one.shape for one in members}, MAX_NUMBERS)
            found = {one.name: np.ascontiguousarray(read_array(archive, one), np.float64) for one in members}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError, KeyError, SyntaxError, TypeError) as error:
        raise InvalidBundle(f"{name} holds no readable arrays: {str(error)[:200]}") from error
    except ServiceError as error:
        raise InvalidBundle(f"{name}: {error.detail}") from error
    if not all(np.isfinite(array).all() for array in found.values()):
        raise InvalidBundle(f"{name} holds numbers that are not finite")
    return found


def read_arrays_again(bundle: Opened, sha256: str, folder: Path) -> Path:
    """A file of checked arrays, written by us, for whoever trains with them. Raises InvalidBundle."""
    target = folder / f"{sha256}.npz"
    np.savez(target, allow_pickle=False, **dict(read_arrays(bundle, layout.dataset_files(sha256)[0])))
    return target
