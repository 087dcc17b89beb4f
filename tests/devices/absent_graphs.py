"""Graphs of a CUDA device that is not there: what is captured is recorded, and replayed on the same arrays.

    with AbsentGPU() as gpu, absent_graphs(gpu) as graphs:
        ...

As a graph of CUDA does it keeps operations with the arrays, and the numbers of the program, that they were captured
with. Nothing is made while it is captured: what was written over is put back, and what was made holds no numbers until
the first replay. Refused are waiting and copies from the CPU, capturing what was not tried before on another stream,
and replaying what reads an array that the program has let go of. It cannot show which operations of CUDA refuse it.
"""

import contextlib
import weakref
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any
from unittest.mock import patch

import torch
from absent_gpu import AbsentGPU, _tensors, _There
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


class NotWhileCapturing(RuntimeError):
    """What a stream refuses while it is captured."""


class _Stream:
    def __init__(self) -> None:
        self.waited_for: list[_Stream] = []

    def wait_stream(self, other: "_Stream") -> None:
        self.waited_for.append(other)


class AbsentGraphs:
    """What was captured and replayed."""

    def __init__(self, gpu: AbsentGPU) -> None:
        self.gpu, self.counts = gpu, Counter[str]()
        """Graphs `captured`, `refused` and `replayed`."""
        self._main = self._current = _Stream()

    def current_stream(self) -> _Stream:
        return self._current

    @contextlib.contextmanager
    def stream(self, stream: _Stream) -> Generator[None]:
        assert self._current in stream.waited_for, "what is read here may not be there yet"
        self._current = stream
        yield
        self._current = self._main

    def graph(self, graph: "_Graph", *, capture_error_mode: str) -> "_Capture":
        # others draw for the next stack: any other mode would have their pinned memory end the capture
        assert capture_error_mode == "thread_local"
        return _Capture(self, graph)

    @property
    def is_tried(self) -> bool:
        """Whether there was something on another stream, which is waited for."""
        return bool(self._main.waited_for)


class _Held:
    """An array that was there before, held by whoever holds it."""

    def __init__(self, array: Tensor) -> None:
        self.array, self.shape = weakref.ref(array), tuple(array.shape)


class _Graph:
    def __init__(self, graphs: AbsentGraphs) -> None:
        self._graphs = graphs
        self.calls: list[tuple[Any, Any, Any, list[Tensor | None]]] = []
        """Operation, its arguments, and what it made, None for an array that it was given."""

    def replay(self) -> None:
        gpu = self._graphs.gpu
        before = gpu.launches.copy()
        for operation, args, kwargs, made in self.calls:
            answer = operation(*tree_map(_there, args), **tree_map(_there, kwargs))
            for own, new in zip(made, _tensors([answer]), strict=True):
                if own is not None and _storage(own) != _storage(new):
                    own.copy_(new)
        gpu.launches.clear()
        gpu.launches.update({**before, "graph": before["graph"] + 1})
        self._graphs.counts["replayed"] += 1


class _Capture(TorchDispatchMode):
    def __init__(self, graphs: AbsentGraphs, graph: _Graph) -> None:
        super().__init__()
        self._graphs, self._graph = graphs, graph
        self._made: dict[int, Tensor] = {}
        self._own: dict[int, Any] = {}
        """Address of memory that was taken here -> the array that took it."""
        self._before: list[tuple[Any, Tensor]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __enter__(self) -> "_Capture":
        if not self._graphs.is_tried:
            raise NotWhileCapturing("libraries take memory when they are used for the first time")
        super().__enter__()
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, gpu = dict(kwargs or {}), self._graphs.gpu
        given = [*_tensors((*args, *kwargs.values()))]
        self._before += [(one, one.here.clone()) for one in _written(func, args, kwargs) if not self._is_own(one)]
        waits, copies = sum(gpu.waits.values()), gpu.launches["copy from the CPU"]
        answer = func(*args, **kwargs)
        if sum(gpu.waits.values()) > waits or gpu.launches["copy from the CPU"] > copies:
            raise NotWhileCapturing(f"{func} waits for the device, or copies from the CPU")
        made = [None if any(one is other for other in given) else one for one in _tensors([answer])]
        addresses = {_storage(one) for one in given}
        for one in (one for one in made if isinstance(one, _There)):
            if _storage(one) not in addresses:
                self._own[_storage(one)] = one
            self._made[id(one)] = one
        self._graph.calls.append((func, *tree_map(self._kept, (args, kwargs)), made))
        return answer

    def _is_own(self, array: Tensor) -> bool:
        return _storage(array) in self._own

    def _kept(self, argument: Any) -> Any:
        is_made = not isinstance(argument, _There) or id(argument) in self._made
        return argument if is_made else _Held(argument)

    def __exit__(self, *raised: Any) -> None:  # ty: ignore[incompatible-method-override]
        super().__exit__(*raised)
        for array, before in reversed(self._before):
            array.here.copy_(before)
        for array in self._own.values():
            array.here.fill_(torch.nan if array.dtype.is_floating_point else 99)
        self._graphs.counts["refused" if raised[0] else "captured"] += 1


def _written(func: Any, args: Any, kwargs: Any) -> Iterator[Any]:
    """Arrays on the device that an operation writes over."""
    named = dict(zip((one.name for one in func._schema.arguments), args, strict=False)) | kwargs
    for one in func._schema.arguments:
        if one.alias_info is not None and one.alias_info.is_write:
            yield from (array for array in _tensors([named.get(one.name)]) if isinstance(array, _There))


def _there(argument: Any) -> Any:
    if not isinstance(argument, _Held):
        return argument
    array = argument.array()
    if array is None:
        raise RuntimeError(f"a graph reads an array {argument.shape} that nobody holds any more")
    return array


def _storage(array: Any) -> int:
    return (array.here if isinstance(array, _There) else array).untyped_storage()._cdata


@contextlib.contextmanager
def absent_graphs(gpu: AbsentGPU) -> Generator[AbsentGraphs]:
    """While it is entered, torch captures and replays on the device that is not there."""
    graphs = AbsentGraphs(gpu)
    with patch.multiple(
        torch.cuda,
        CUDAGraph=lambda: _Graph(graphs),
        Stream=_Stream,
        current_stream=graphs.current_stream,
        graph=graphs.graph,
        stream=graphs.stream,
    ):
        yield graphs
