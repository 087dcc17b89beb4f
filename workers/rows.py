"""Collects a stack's measurements and turns them into Arrow record batches."""

from collections.abc import Sequence
from operator import itemgetter

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.metrics import Measured, Request


class Rows:
    """Measurements waiting for the next block."""

    def __init__(self, request: Request) -> None:
        self.network_names = [name for name in request.metrics if name in names.NETWORK_METRICS]
        self.layer_names = [name for name in request.metrics if name in names.LAYER_METRICS]
        self._network: list[np.ndarray] = []
        self._layers: list[np.ndarray] = []
        self._parametrised: list[tuple[int, int, int, str, float]] = []

    def add(self, lanes: Sequence[int], steps: Sequence[int], time: Tensor, measured: Measured) -> None:
        """Add rows, each of a lane at a step; time and the measured values are (R,)."""
        columns = [time, *(measured.network[name] for name in self.network_names)]
        for found in measured.layers.values():
            columns += [found[name] for name in self.layer_names]
        columns += [found for *_, found in measured.parametrised]
        # all of them in one copy: a device is waited for once
        values = torch.stack([column.to(torch.float64) for column in columns]).cpu().numpy()
        keys = np.array([lanes, steps], dtype=float)
        at, width = 1 + len(self.network_names), len(self.layer_names)
        self._network.append(np.concatenate([keys, values[:at]]))
        for layer in measured.layers:
            number = np.full((1, len(lanes)), float(layer))
            self._layers.append(np.concatenate([keys, number, values[at : at + width]]))
            at += width
        for (layer, name, _), found in zip(measured.parametrised, values[at:], strict=True):
            self._parametrised += [
                (lane, step, layer, name, value) for lane, step, value in zip(lanes, steps, found.tolist(), strict=True)
            ]

    def take(self) -> tuple[pa.RecordBatch, pa.RecordBatch, pa.RecordBatch]:
        """Network, layer and parametrised rows since the last call, in the order of their steps."""
        network = _batch(
            self._network, {"lane": pa.int32(), "step": pa.int64(), "time": pa.float64()}, self.network_names
        )
        layers = _batch(self._layers, {"lane": pa.int32(), "step": pa.int64(), "layer": pa.int16()}, self.layer_names)
        columns = list(zip(*sorted(self._parametrised, key=itemgetter(1)), strict=True)) or [(), (), (), (), ()]
        types = {
            "lane": pa.int32(),
            "step": pa.int64(),
            "layer": pa.int16(),
            "name": pa.string(),
            "value": pa.float64(),
        }
        parametrised = pa.record_batch(
            [pa.array(column, type_) for column, type_ in zip(columns, types.values(), strict=True)], names=list(types)
        )
        self._network, self._layers, self._parametrised = [], [], []
        return network, layers, parametrised


def _batch(parts: list[np.ndarray], keys: dict[str, pa.DataType], metrics: list[str]) -> pa.RecordBatch:
    """One record batch from arrays (columns, K), keys first."""
    columns = np.concatenate(parts, axis=1) if parts else np.empty((len(keys) + len(metrics), 0))
    # rows of several steps that were measured at once are layer by layer
    columns = columns[:, np.argsort(columns[1], kind="stable")]
    types = [*keys.values(), *(pa.float64() for _ in metrics)]
    arrays = [
        pa.array(column.astype(type_.to_pandas_dtype()), type_) for column, type_ in zip(columns, types, strict=True)
    ]
    return pa.record_batch(arrays, names=[*keys, *metrics])
