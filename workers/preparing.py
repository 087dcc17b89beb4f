"""What a stack needs before it is trained, or its kept weights are measured: data, networks and initial weights."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfa_kernels.at_once import sent
from nfa_kernels.data import Data as Samples
from nfa_kernels.data import make_data
from nfa_kernels.data.teachers import stacked_directions, teacher_directions
from nfa_kernels.measured_data import MeasuredData
from nfa_kernels.metrics import needs_kernels, needs_teacher
from nfa_kernels.networks import Params
from service.grid import canonical
from workers.blocks import Lane, Stack
from workers.motion import loss_numbers
from workers.network_data import MeasuredSet
from workers.networks import Network, network_of

_DRAWN_ALONE = 8
"""Lanes for which threads are not worth their start."""
_PART_LANES, _PARTS_AHEAD = 64, 4
"""Lanes whose arrays go to a device together, and such parts that are drawn before the first of them is sent."""


class Prepared(NamedTuple):
    """A stack's networks and data, on its device."""

    network: Network
    x: Tensor
    """(K, N, ..) inputs to train on, as the network reads them."""
    y: Tensor
    """(K, N, C) targets, as the data have them."""
    loss_numbers: Mapping[str, Tensor]
    """(K,) by name, what the loss reads beside the targets."""
    data: MeasuredData
    form: tuple[int, ...]
    """Of one sample's input, as the data have it."""
    x_test: Tensor
    """(K, T, ..) test inputs, as the network reads them."""


def prepared(stack: Stack, device: torch.device, metrics: Iterable[str]) -> Prepared:
    """The networks and data of a stack, and what these metrics read of them.

    Raises:
        ValueError: settings that the kernels refuse.
    """
    settings, metrics = stack.lanes[0].settings, tuple(metrics)

    x, y, x_test, y_test = _samples_of(stack, device)
    form = tuple(x.shape[2:])
    network = network_of(settings, form, y.shape[-1])
    x, x_test = network.inputs(x), network.inputs(x_test)
    passes = getattr(torch, settings["measure"].get("dtype", "float64"))
    numbers = loss_numbers([lane.settings["training"] for lane in stack.lanes], y.device)
    kernels, loss = needs_kernels(metrics), settings["training"]["loss"]
    data = network.measured_data(MeasuredSet(x, y, x_test, y_test, loss, numbers, passes, kernels))
    if needs_teacher(metrics):
        data = data._replace(teacher=stacked_directions([_directions(lane) for lane in stack.lanes]).to(device))
    return Prepared(network, x, y, numbers, data, form, x_test)


def initial_weights(stack: Stack, network: Network, device: torch.device) -> Params:
    """Parameters before the first step, each (K, rows, columns) in float64."""
    return drawn(lambda lane: _parameters(lane, network, stack.arrays), stack.lanes, device)


def drawn(draw: Callable[[Lane], Sequence[Tensor]], lanes: Sequence[Lane], device: torch.device) -> tuple[Tensor, ...]:
    """What is drawn for each lane, on the CPU and from streams of its own: each of its arrays stacked on the device.

    A GPU waits for it, and has thousands of lanes: there all cores draw, each with one thread of the tensor library as
    trainers have, while what has been drawn is stacked and sent. A trainer on a CPU has one core.
    """
    if device.type == "cpu" or len(lanes) < _DRAWN_ALONE:
        arrays = zip(*(draw(lane) for lane in lanes), strict=True)
        return tuple(sent(torch.stack(array), device) for array in arrays)
    whole: list[Tensor] = []
    for first, some in _in_parts(draw, lanes):
        part = [sent(torch.stack(array), device) for array in zip(*some, strict=True)]
        whole = whole or [array.new_empty((len(lanes), *array.shape[1:])) for array in part]
        for own, array in zip(whole, part, strict=True):
            own[first : first + len(some)] = array
    return tuple(whole)


def _in_parts(
    draw: Callable[[Lane], Sequence[Tensor]], lanes: Sequence[Lane]
) -> Iterator[tuple[int, list[Sequence[Tensor]]]]:
    """Place of the first lane and what was drawn, a few lanes at a time, while the next few are drawn by all cores."""

    def draw_here(lane: Lane) -> Sequence[Tensor]:
        with torch.inference_mode():
            return draw(lane)

    with ThreadPoolExecutor(_cores(), initializer=torch.set_num_threads, initargs=(1,)) as threads:
        # what has been drawn and not been sent is a bounded part of a stack
        ahead = deque(threads.submit(draw_here, lane) for lane in lanes[: _PARTS_AHEAD * _PART_LANES])
        for first in range(0, len(lanes), _PART_LANES):
            some = [ahead.popleft().result() for _ in range(min(_PART_LANES, len(ahead)))]
            after = first + _PARTS_AHEAD * _PART_LANES
            ahead.extend(threads.submit(draw_here, lane) for lane in lanes[after : after + _PART_LANES])
            yield first, some


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _samples_of(stack: Stack, device: torch.device) -> Samples:
    """The data of every lane, stacked on the device; lanes with the same data have one and the same, drawn once."""
    # lanes that differ by their seeds alone have one and the same settings
    texts: dict[int, str] = {}
    keys = []
    for lane in stack.lanes:
        data = lane.settings["data"]
        text = texts.get(id(data)) or texts.setdefault(id(data), canonical.compact(data))
        keys.append((text, lane.seed if data.get("seed") is None else None))
    first = dict(zip(reversed(keys), reversed(stack.lanes), strict=True))
    each = [*reversed(first.values())]
    if len(each) == 1 < len(keys):
        one = _samples(each[0], stack.arrays)
        return Samples(*(sent(array[None], device).expand(len(keys), *array.shape) for array in one))
    found = drawn(lambda lane: _samples(lane, stack.arrays), each, device)
    if len(each) == len(keys):
        return Samples(*found)
    places = {key: place for place, key in enumerate(reversed(first))}
    index = torch.tensor([places[key] for key in keys])
    return Samples(*(array[index.to(device)] for array in found))


def _samples(lane: Lane, arrays: Mapping[str, Mapping[str, Any]]) -> Samples:
    settings = dict(lane.settings["data"])
    if "dataset_id" in settings:
        settings["arrays"] = arrays[settings.pop("dataset_id")]
    kind, fixed = settings.pop("kind"), settings.pop("seed", None)
    return make_data(kind, lane.seed if fixed is None else fixed, **settings)


def _directions(lane: Lane) -> Tensor:
    """(D, R) what the targets of one trial depend on."""
    settings = dict(lane.settings["data"])
    kind, fixed = settings.pop("kind"), settings.pop("seed", None)
    return teacher_directions(kind, lane.seed if fixed is None else fixed, **settings)


def _parameters(lane: Lane, network: Network, arrays: Mapping[str, Mapping[str, Any]]) -> list[Tensor]:
    """Parameters of one trial before its first step."""
    settings = dict(lane.settings["init"])
    given = arrays[settings.pop("weights_id")] if "weights_id" in settings else {}
    return network.initial(settings, lane.seed, given)


@contextlib.contextmanager
def flushed_denormals() -> Generator[None]:
    """Count denormal numbers as zeros: one network that collapses would slow down its whole stack many times."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
