"""`python -m workers.retrain`: trains some trials alone, without store, Ray or dispatcher.

It is asked by JSON on its standard input, {"stacks": [[{"trial", "settings", "seed"}, ..], ..], "datasets":
{id: file.npz}, "answer": file}: trials that may share a stack do, as when they were trained first. The answer becomes
an Arrow file of their rows: trial, step, layer (0 for the network), name, value, NaN where undefined. How each ended is
printed as JSON, {trial: {"state", "step"}}.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from workers.blocks import Lane, Stack
from workers.training import train

_SCHEMA: Final = pa.schema(
    [
        ("trial", pa.string()),
        ("step", pa.int64()),
        ("layer", pa.int16()),
        ("name", pa.string()),
        ("value", pa.float64()),
    ]
)
_KEYS: Final = ("lane", "step", "layer", "time")


def main() -> None:
    """Train what is asked for; nothing where the one who would have asked is gone."""
    text = sys.stdin.read()
    if not text:
        return
    asked = json.loads(text)
    arrays = {key: dict(np.load(file, allow_pickle=False)) for key, file in asked["datasets"].items()}
    ends: dict[str, dict[str, Any]] = {}
    with pa.OSFile(asked["answer"], "wb") as file, pa.ipc.new_file(file, _SCHEMA) as out:
        for members in asked["stacks"]:
            for rows in _trained(members, arrays, ends):
                out.write_table(rows)
    json.dump(ends, sys.stdout)


def _trained(
    members: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, Mapping[str, np.ndarray]],
    ends: dict[str, dict[str, Any]],
) -> Iterator[pa.Table]:
    """The rows of a stack, block by block; how its lanes end is noted."""
    names = [one["trial"] for one in members]
    stack = Stack(tuple(Lane(one["settings"], one["seed"]) for one in members), arrays)
    for block in train(stack):
        for batch in (block.network, block.layers):
            for name in batch.schema.names:
                if name not in _KEYS:
                    yield _long(batch, names, pa.array([name] * batch.num_rows, pa.string()), batch.column(name))
        found = block.parametrised
        yield _long(found, names, found.column("name"), found.column("value"))
        ends |= {names[end.lane]: {"state": end.state, "step": end.step} for end in block.ended}


def _long(batch: pa.RecordBatch, names: Sequence[str], metrics: pa.Array, values: pa.Array) -> pa.Table:
    """A row per value."""
    lanes = batch.column("lane").to_numpy()
    has_layer = "layer" in batch.schema.names
    layers = batch.column("layer") if has_layer else pa.array(np.zeros(batch.num_rows, np.int16))
    columns = [pa.array([names[lane] for lane in lanes], pa.string()), batch.column("step"), layers, metrics, values]
    return pa.table([column.cast(kind) for column, kind in zip(columns, _SCHEMA.types, strict=True)], schema=_SCHEMA)


if __name__ == "__main__":
    main()
