"""Measures weights that were kept, without training; the numbers are those that training would have measured there.

At a step that was not measured so far, what the trial's own settings ask for is measured too, so that no row of a
curve has holes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.metrics import Measured, Request, needs_initial
from nfa_kernels.networks import Params
from service.grid.measured_steps import measured_times
from workers.blocks import LAST_STEP, Block, LaneEnd, Stack
from workers.kept_weights import decoded
from workers.motion import numbers
from workers.network_data import Point
from workers.other_inputs import OtherInputs, with_others
from workers.paces import Paces
from workers.preparing import Prepared, flushed_denormals, initial_weights, prepared
from workers.rows import Rows

Stopped = Callable[[], frozenset[int]]


def remeasure(stack: Stack, device: str = "cpu", *, stopped: Stopped = frozenset) -> Iterator[Block]:
    """Measure what `stack.again` asks for at every kept step of every lane.

    Args:
        stack: lanes that share what `service.grid.stacking.stack_key` hashes, each with kept weights.
        device: a torch device.
        stopped: asked before every step for the lanes to drop; they end without rows.
    Yields:
        A block of what the lanes' own settings ask for at steps without a row, if there are any; then the last block.
    Raises:
        ValueError: settings that the kernels refuse, or weights that are not the network's.
    """
    with torch.inference_mode():
        yield from _Remeasuring(stack, torch.device(device), stopped).blocks()


class _Remeasuring:
    """A stack of kept weights, step by step."""

    def __init__(self, stack: Stack, device: torch.device, stopped: Stopped) -> None:
        assert stack.again is not None
        self.lanes, self.stopped, self.device = stack.lanes, stopped, device
        settings = stack.lanes[0].settings
        self.trainings = [lane.settings["training"] for lane in stack.lanes]
        measured = (*stack.again.metrics, *settings["measure"]["metrics"])
        self.prepared: Prepared = prepared(stack, device, measured)
        network = self.prepared.network
        self.loss = settings["training"]["loss"]
        self.asked = Request(stack.again.metrics, stack.again.layers, stack.again.exponents)
        measure = settings["measure"]
        self.own = Request(tuple(measure["metrics"]), tuple(measure["layers"]), tuple(measure.get("exponents", ())))
        inputs, ready = tuple(measure.get("inputs", ())), self.prepared
        some = [*dict.fromkeys((*stack.again.inputs, *inputs))]
        others = {one: OtherInputs(stack, [one], network, ready.data, ready.form, ready.x_test) for one in some}
        self.asked_of, self.own_of = ([others[one] for one in ids] for ids in (stack.again.inputs, inputs))
        self.is_train_asked = names.TRAIN in stack.again.inputs
        is_partial = any(lane.unmeasured for lane in stack.lanes)
        reads_initial = needs_initial(self.asked.metrics) or (is_partial and needs_initial(self.own.metrics))
        self.initial = initial_weights(stack, network, device) if reads_initial else None
        owners = network.owners(settings["training"]["optimizer"])
        self.weight_decay = network.weight_decays(owners, self.trainings, device)
        self.times = _Times(settings, self.trainings)

    def blocks(self) -> Iterator[Block]:
        """Rows of steps that had none, then those that are asked for."""
        first, asked = Rows(self.own), Rows(self.asked if self.is_train_asked else Request((), ()))
        kept = [dict(lane.kept) for lane in self.lanes]
        for step in sorted({step for files in kept for step in files}):
            gone = self.stopped()
            lanes = [place for place, files in enumerate(kept) if step in files and place not in gone]
            if not lanes:
                continue
            files = [kept[place].pop(step) for place in lanes]
            weights = self._weights(files)
            time = self.times.at(step)[lanes]
            missing = [place for place, lane in enumerate(lanes) if step in self.lanes[lane].unmeasured]
            if missing:
                some = [lanes[place] for place in missing]
                own = tuple(array[missing] for array in weights)
                first.add(some, [step] * len(some), time[missing], self._measured(self.own, self.own_of, some, own))
            found = self._measured(self.asked, self.asked_of, lanes, weights, is_train=self.is_train_asked)
            asked.add(lanes, [step] * len(lanes), time, found)
        if any(lane.unmeasured for lane in self.lanes):
            yield _block(first, ())
        gone = self.stopped()
        ended = [place for place in range(len(self.lanes)) if place not in gone]
        yield _block(asked, [LaneEnd(place, "completed", 0, None, LAST_STEP) for place in ended], last=True)

    def _weights(self, files: Sequence[bytes]) -> Params:
        """Parameters of some lanes from their files, as they were kept."""
        read = [decoded(file)[0] for file in files]
        named = {name: torch.stack([torch.from_numpy(one[name]) for one in read]) for name in read[0]}
        return tuple(array.to(self.device) for array in self.prepared.network.parameters(named))

    def _measured(
        self,
        request: Request,
        others: Sequence[OtherInputs],
        lanes: Sequence[int],
        weights: Params,
        *,
        is_train: bool = True,
    ) -> Measured:
        """What a request asks of some lanes, over the training set and other inputs."""
        index = torch.tensor(lanes, dtype=torch.long, device=self.device)
        initial = None
        if needs_initial(request.metrics) and self.initial is not None:
            # in the dtype that the weights were moved in, as training compares them
            initial = tuple(array[index].to(now.dtype) for array, now in zip(self.initial, weights, strict=True))
        with flushed_denormals():
            found = Measured({}, {}, [])
            point = Point(self.prepared.data.select(index), request, self.loss, initial, self.weight_decay[index])
            if is_train:
                found = self.prepared.network.measure(weights, point)
            return with_others(found, [row for one in others for row in one.measured(weights, index, 1, point)])


class _Times:
    """The time of every lane at a step: the sum of its learning rates, or of gradient flow the measured time."""

    def __init__(self, settings: Mapping[str, Any], trainings: Sequence[Mapping[str, Any]]) -> None:
        self._lanes, self._flow, self._step = len(trainings), None, 0
        if settings["training"]["optimizer"] == "gradient_flow":
            self._flow = measured_times(settings)
            return
        self._paces = Paces(trainings)
        self._rates = numbers(trainings, "learning_rate", torch.device("cpu"))

    def at(self, step: int) -> Tensor:
        """(K,) at a step no earlier than the last one asked about."""
        if self._flow is not None:
            return torch.full((self._lanes,), self._flow[step], dtype=torch.float64)
        while self._step < step:
            self._paces.next(self._step)
            self._step += 1
        return self._rates * self._paces.sums


def _block(rows: Rows, ended: Sequence[LaneEnd], *, last: bool = False) -> Block:
    network, layers, parametrised = rows.take()
    return Block(network, layers, parametrised, tuple(ended), 0, 0.0, 0.0, last)
