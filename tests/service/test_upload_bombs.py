"""Uploads that unpack to far more than they weigh, or break their readers, are refused before they are unpacked."""

import contextlib
import io
import tracemalloc
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.datasets import CSV, NPZ, PARQUET, read_dataset
from service.errors import InvalidDataset, TooLarge


def npy(header: str, data: bytes = b"") -> bytes:
    """An .npy member whose header is written by hand."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def packed(*members: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for number, member in enumerate(members):
            archive.writestr(f"x{number}.npy", member)
    return held.getvalue()


def form(shape: object, descr: str = "<f8") -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n"


def parquet(table: pa.Table) -> bytes:
    held = io.BytesIO()
    pq.write_table(table, held, compression="zstd")
    return held.getvalue()


BYTES = npy(form((60_000_000,), "|u1"), bytes(60_000_000))


@pytest.mark.parametrize(
    ("content", "media", "error"),
    [
        (packed(BYTES), NPZ, TooLarge),
        (packed(npy(form((10**15,)))), NPZ, InvalidDataset),
        (packed(npy(form((-1,)), bytes(8))), NPZ, InvalidDataset),
        (packed(npy(form("(2**70,)"))), NPZ, InvalidDataset),
        (packed(npy(form((3,), "|O"), bytes(24))), NPZ, InvalidDataset),
        (packed(npy("(" * 9_000)), NPZ, InvalidDataset),
        (packed(npy("-" * 9_000 + "1")), NPZ, InvalidDataset),
        (packed(npy("[]")), NPZ, InvalidDataset),
        (packed(npy(form((1,)), bytes(8)), method=zipfile.ZIP_LZMA), NPZ, InvalidDataset),
        (packed(*[npy(form((1,)), bytes(8))] * 300), NPZ, TooLarge),
        (packed(b"\x93NUMPX" + npy(form((1,)), bytes(8))[6:]), NPZ, InvalidDataset),
        (b"x0," * 3_000_000 + b"y0\n", CSV, TooLarge),
        (b"x0,y0\n" + b"\n" * 9_000_000, CSV, TooLarge),
        (parquet(pa.table({"x": np.zeros(20_000_000), "y": np.zeros(20_000_000)})), PARQUET, TooLarge),
        (parquet(pa.table({"x": ["a" * 1_000_000] * 90, "y": [1.0] * 90})), PARQUET, InvalidDataset),
        (parquet(pa.table({"x": [[1.0]], "y": [1.0]})), PARQUET, InvalidDataset),
    ],
)
def test_a_bomb_is_refused_without_room_for_what_it_unpacks_to(content, media, error):
    assert len(content) < 10_000_000
    tracemalloc.start()
    with pytest.raises(error):
        read_dataset(content, media)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * 2**20


@pytest.mark.parametrize("media", [NPZ, PARQUET])
def test_a_file_cut_or_changed_at_any_place_is_refused_or_read(media):
    if media == NPZ:
        held = io.BytesIO()
        np.savez_compressed(held, x=np.ones((5, 2)), y=np.ones((5, 1)))
        content = held.getvalue()
    else:
        content = parquet(pa.table({"x": [1.0, 2.0], "y": [1.0, 2.0]}))
    drawn = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(content)
        changed[drawn.integers(len(content))] = drawn.integers(256)
        for one in (bytes(changed), content[: drawn.integers(len(content))]):
            with contextlib.suppress(InvalidDataset, TooLarge):
                read_dataset(one, media)


def test_arrays_of_every_order_and_kind_are_read_as_they_were_written():
    x = np.arange(6.0).reshape(2, 3)
    for given in (x, np.asfortranarray(x), x.astype("f4"), x.astype("i2"), x.astype(">f8"), x > 2):
        held = io.BytesIO()
        np.savez_compressed(held, x=given, y=np.ones((2, 1)))
        assert np.array_equal(read_dataset(held.getvalue(), NPZ)["x"], given.astype(float))
