"""Weights of one network as the bytes of a .safetensors file.

Format: the header's length (8 bytes, little-endian), the header (JSON: name -> dtype, shape, data_offsets), the arrays.
Source: huggingface.co/docs/safetensors, "Format".
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from torch import Tensor

_DTYPES: Final = {"float64": "F64", "float32": "F32", "int64": "I64", "uint8": "U8", "bool": "BOOL"}


class KeptWeights(NamedTuple):
    """The weights of one lane at one step, as a file."""

    lane: int
    step: int
    content: bytes


def kept_weights(lanes: Sequence[int], step: int, named: Mapping[str, Tensor]) -> list[KeptWeights]:
    """The weights of every lane of a stack.

    Args:
        lanes: their numbers.
        step: updates done so far.
        named: every parameter (K, ..) under the name that it can be given by: `w1` .. `wL`, `b1` .. `bL` of a fully
            connected network.
    """
    arrays = {name: parameter.cpu().numpy() for name, parameter in named.items()}
    return [
        KeptWeights(lane, step, encoded({name: array[place] for name, array in arrays.items()}, {"step": str(step)}))
        for place, lane in enumerate(lanes)
    ]


def encoded(arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> bytes:
    """A .safetensors file of arrays of floats, int64, uint8 or bool."""
    header: dict[str, Any] = {"__metadata__": dict(about)}
    offset = 0
    for name, array in arrays.items():
        ends = [offset, offset + array.nbytes]
        header[name] = {"dtype": _DTYPES[str(array.dtype)], "shape": list(array.shape), "data_offsets": ends}
        offset = ends[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = (array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in arrays.values())
    return b"".join([struct.pack("<Q", len(text)), text, *data])


def decoded(file: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file that `encoded` made, and what it says about itself."""
    (length,) = struct.unpack_from("<Q", file)
    header = json.loads(file[8 : 8 + length])
    about = header.pop("__metadata__", {})
    types = {short: np.dtype(name).newbyteorder("<") for name, short in _DTYPES.items()}
    found = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        flat = np.frombuffer(file[start:end], types[entry["dtype"]])
        found[name] = flat.reshape(entry["shape"]).copy()
    return found, about
