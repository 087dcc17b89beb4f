"""Uploads that unpack to far more than they weigh, or break their readers, are refused before they are unpacked."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import tracemalloc
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.datasets.reading import ANY, CSV, NPZ, PARQUET, SAFETENSORS, read_upload
from service.errors import InvalidDataset, TooLarge


def npy(header: str, data: bytes = b"") -> bytes:
    """An .npy member whose header is written by hand."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def packed(*members: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for number, member in enumerate(members):
            archive.writestr(f"{'xy'[number] if number < 2 else number}.npy", member)
    return held.getvalue()


def form(shape: object, descr: str = "<f8") -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n"


def parquet(table: pa.Table) -> bytes:
    held = io.BytesIO()
    pq.write_table(table, held, compression="zstd")
    return held.getvalue()


def varint(number: int) -> bytes:
    """A zigzag integer of Thrift's compact protocol."""
    number, out = 2 * number, b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def lying_parquet() -> bytes:
    """Two columns of one page of 128 MB each, whose footer says 1.1 million rows of 36 MB."""
    held, rows = io.BytesIO(), 16_000_000
    pq.write_table(
        pa.table({"x": np.zeros(rows), "y": np.zeros(rows)}), held, compression="zstd", use_dictionary=False,
        row_group_size=rows, data_page_size=2**30, write_batch_size=rows, max_rows_per_page=rows,
        write_statistics=False,
    )  # fmt: skip
    content = held.getvalue()
    group = pq.ParquetFile(held).metadata.row_group(0)
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer = content[start:-8].replace(varint(rows), varint(1_100_000))
    for column in (0, 1):
        footer = footer.replace(varint(group.column(column).total_uncompressed_size), varint(36_000_000))
    return content[:start] + footer.replace(varint(group.total_byte_size), varint(2**27)) + content[-8:]


def pa_packed(codec: str):
    """Packs bytes as a stream of this kind."""

    def pack(content: bytes) -> bytes:
        held = pa.BufferOutputStream()
        with pa.CompressedOutputStream(held, codec) as stream:
            stream.write(content)
        return held.getvalue().to_pybytes()

    return pack


def snappy(content: bytes) -> bytes:
    """The start of a framed stream of Snappy, and one of its blocks."""
    return b"\xff\x06\x00\x00sNaPpY" + pa.compress(content[:60_000], "snappy", asbytes=True)


def safetensors(header: object, data: bytes = b"") -> bytes:
    """A .safetensors file whose header is written by hand."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: list[object], offsets: list[int], dtype: str = "F64") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


LARGE, SMALL = (b"x0,y0\n" + b"1,1\n" * rows for rows in (10_000_000, 100_000))
PACKED = [
    *(pack(LARGE) for pack in (gzip.compress, pa_packed("zstd"), zlib.compress)),
    *(pack(SMALL) for pack in (bz2.compress, lzma.compress, pa_packed("lz4"), snappy)),
    zlib.compress(SMALL, 1),
]
BYTES = npy(form((60_000_000,), "|u1"), bytes(60_000_000))


@pytest.mark.parametrize(
    ("content", "media", "error"),
    [
        (packed(BYTES, BYTES), NPZ, TooLarge),
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
        *((content, media, InvalidDataset) for content in PACKED for media in (CSV, ANY, SAFETENSORS)),
        (b"x0,y0\n" + b"," * 9_000_000, CSV, InvalidDataset),
        (b'x0,y0\n"' + b"1,\n" * 2_000_000, CSV, InvalidDataset),
        (b"," * 9_000_000, CSV, TooLarge),
        (lying_parquet(), PARQUET, TooLarge),
        (safetensors({"x": entry([10**15], [0, 8])}, bytes(8)), SAFETENSORS, InvalidDataset),
        (safetensors({"x": entry([3], [0, 8])}, bytes(8)), SAFETENSORS, InvalidDataset),
        (safetensors({"x": entry([1], [0, 8]), "y": entry([1], [0, 8])}, bytes(8)), SAFETENSORS, InvalidDataset),
        (safetensors({"x": entry([-1, -1], [0, 8])}, bytes(8)), SAFETENSORS, InvalidDataset),
        (safetensors({"x": entry([True], [0, 8])}, bytes(8)), SAFETENSORS, InvalidDataset),
        (safetensors(b"[" * 100_000), SAFETENSORS, InvalidDataset),
        (safetensors(b"[]"), SAFETENSORS, InvalidDataset),
        (safetensors(b'{"x": 1}'), SAFETENSORS, InvalidDataset),
        (safetensors({"x": entry([1], [8, 16]), "y": entry([1], [16, 24])}, bytes(24)), SAFETENSORS, InvalidDataset),
        (b"\xff" * 100, SAFETENSORS, InvalidDataset),
        (parquet(pa.table({"x": ["a" * 1_000_000] * 90, "y": [1.0] * 90})), PARQUET, InvalidDataset),
        (parquet(pa.table({"x": [[1.0]], "y": [1.0]})), PARQUET, InvalidDataset),
    ],
)
def test_a_bomb_is_refused_without_room_for_what_it_unpacks_to(content, media, error):
    assert len(content) < 10_000_000
    tracemalloc.start()
    with pytest.raises(error):
        read_upload(content, media)
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
                read_upload(one, media)


def test_arrays_of_every_order_and_kind_are_read_as_they_were_written():
    x = np.arange(6.0).reshape(2, 3)
    for given in (x, np.asfortranarray(x), x.astype("f4"), x.astype("i2"), x.astype(">f8"), x > 2):
        held = io.BytesIO()
        np.savez_compressed(held, x=given, y=np.ones((2, 1)))
        assert np.array_equal(read_upload(held.getvalue(), NPZ).arrays["x"], given.astype(float))
