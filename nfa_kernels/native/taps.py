"""Derivatives of outputs for what maps of a graph give, by compiled code."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from nfa_kernels.graphs.compiled import is_compiled
from nfa_kernels.graphs.graph import Graph
from nfa_kernels.native.call import Call, check, check_done, places_of
from nfa_kernels.native.graphs import tap_call
from nfa_kernels.native.networks import compiled
from nfa_kernels.networks import Params


class Taps:
    """Finds outputs and derivatives of stacks of networks.

    Args:
        library: compiled for their dtype.
        graph: of layers.
        attention_power: scores are divided by this power of a head's width.
        layers: numbers of measured layers.
    """

    def __init__(self, library: ctypes.CDLL, graph: Graph, attention_power: float, layers: Sequence[int]) -> None:
        self._library, self._layers = library, [*layers]
        self._said = tap_call(graph, attention_power, self._layers)
        self._sizes = [(graph.measured[layer - 1].outputs, graph.measured[layer - 1].positions) for layer in layers]

    @property
    def numbers(self) -> int:
        """Derivatives of one output of one sample."""
        return sum(width * positions for width, positions in self._sizes)

    def __call__(self, params: Params, x: Tensor, some: range, scale: float) -> tuple[Tensor, dict[int, Tensor]]:
        """Outputs (K, N, C), and for each layer rows (K, R N P, out), scale times d f_r / d z for R of the outputs.

        Args:
            params: what the networks compute with, each (K, rows, columns).
            x: (K, N, ..) inputs; numbers of tokens of any dtype.
            some: the R outputs, one behind the other.
            scale: of every derivative.
        """
        said, (lanes, samples), dtype = self._said, x.shape[:2], params[0].dtype
        weights, x = [one.contiguous() for one in params], x.flatten(2).to(dtype).contiguous()
        for array, shape in zip(weights, said.shapes, strict=True):
            check(array, (lanes, *shape), dtype)
        check(x, (lanes, samples, said.inputs), dtype)
        outputs = x.new_empty(lanes, samples, said.outputs)
        taps = [x.new_empty(lanes, width, len(some) * samples * positions) for width, positions in self._sizes]
        table, arrays, found = said.table, places_of(weights), places_of(taps)
        multipliers = (ctypes.c_double * len(weights))(*said.steps.multipliers)
        call = Call(
            real_bytes=dtype.itemsize,
            **{"lanes": lanes, "samples": samples, "batch": samples, "x": x.data_ptr(), "found": outputs.data_ptr()},
            **{"weights": ctypes.addressof(arrays), "taps": ctypes.addressof(found)},
            **{"multipliers": ctypes.addressof(multipliers), "shapes": ctypes.addressof(table)},
            **{"first_output": some.start, "output_count": len(some), "factor": scale},
            **said.fields,
        )
        check_done(self._library.nfa_graph_steps(ctypes.byref(call)))
        return outputs, {layer: rows.mT for layer, rows in zip(self._layers, taps, strict=True)}


def taps_of(graph: Graph, attention_power: float, layers: Sequence[int], params: Params) -> Taps | None:
    """Compiled derivatives; None where the tensor library finds them."""
    dtype = params[0].dtype
    if params[0].device.type != "cpu" or dtype not in (torch.float32, torch.float64) or not is_compiled(graph):
        return None
    library = compiled(dtype, "graph")
    return None if library is None else Taps(library, graph, attention_power, layers)
