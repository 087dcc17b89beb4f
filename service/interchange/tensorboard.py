"""TensorBoard event files, a folder per trial; TensorBoard itself is not needed.

An event file is a row of records, each with its length and masked CRC-32C; a record is a protobuf message Event.
Source: tensorflow/core/lib/io/record_writer.cc; tensorboard/compat/proto/event.proto and summary.proto. Values are
float32, which is all that its scalars hold: 1-1e-10 is 1 there.
"""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from service.interchange.runs import Run, Sweep, plain

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_POLYNOMIAL: Final = 0x82F63B78
_MASK: Final = 0xA282EAD8


def write(sweep: Sweep, runs: Iterable[Run], folder: Path) -> int:
    """Write `FOLDER/ID/TRIAL path=value,../events..`; answers how many runs there are.

    Raises:
        FileExistsError: the folder holds the experiment already.
    """
    one = sweep.experiment
    target = folder / one.id
    if target.exists():
        raise FileExistsError(f"{target} is there already: name another folder, or remove it")
    part = folder / f".{one.id}.part"
    part.mkdir(parents=True)
    count = 0
    for count, run in enumerate(runs, 1):  # noqa: B007
        own = part / _named(run, one.axes)
        own.mkdir()
        trial = run.trial
        seconds = (trial.started_at or trial.created_at).timestamp()
        with (own / f"events.out.tfevents.{int(seconds)}.nfa").open("wb") as file:
            file.write(record(_event(seconds) + _field(3, _BYTES, b"brain.Event:2")))
            for name, points in run.series.items():
                for step, value in points:
                    file.write(record(_event(seconds, step) + _field(5, _BYTES, _scalar(name, value))))
    part.replace(target)
    return count


def _named(run: Run, axes: Iterable[str]) -> str:
    """A folder's name, which TensorBoard shows: the trial and what varies."""
    known = run.parameters
    varying = [f"{path.rpartition('.')[2]}={known[path]}" for path in axes if path in known]
    return plain(",".join([run.trial.id, *varying, f"seed={run.trial.seed}"]))


def _event(seconds: float, step: int | None = None) -> bytes:
    head = _field(1, _FIXED64, struct.pack("<d", seconds))
    return head if step is None else head + _field(2, _VARINT, _varint(step))


def _scalar(name: str, value: float) -> bytes:
    """A Summary with one Value: tag and simple_value."""
    content = _field(1, _BYTES, name.encode()) + _field(2, _FIXED32, struct.pack("<f", _as_float32(value)))
    return _field(1, _BYTES, content)


def _as_float32(value: float) -> float:
    """A number within the range of float32."""
    largest = 3.4028234663852886e38
    return max(-largest, min(largest, value))


def _field(number: int, kind: int, content: bytes) -> bytes:
    head = _varint(number << 3 | kind)
    return head + _varint(len(content)) + content if kind == _BYTES else head + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def record(content: bytes) -> bytes:
    """A record of an event file: length, its checksum, content, its checksum."""
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", masked(length)) + content + struct.pack("<I", masked(content))


def masked(content: bytes) -> int:
    """CRC-32C of some bytes, rotated and offset as record files want it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE: Final = tuple(_entry(value) for value in range(256))
