"""Trains a stack and yields blocks of measurements; knows neither Ray nor SQL.

Numbers do not depend on what a trial is stacked with: each lane has its own random streams, hyper-parameters and
data, and divergence is looked for at fixed steps (measured ones and multiples of 64).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.batches import Batches
from nfa_kernels.data import Data, make_data
from nfa_kernels.initialisations import initial_weights
from nfa_kernels.linear import LOSS_FACTORS, Moments, moment_gradients, moments
from nfa_kernels.losses import loss_of
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Measured, Request, measure, needs_initial
from nfa_kernels.networks import Architecture, Params, forward, gradients
from nfa_kernels.optimizers import OPTIMIZERS
from nfa_kernels.schedules import factor
from service.measured_steps import measured_steps
from workers.blocks import Block, Lane, LaneEnd, Stack
from workers.rows import Rows

CHECK_STEPS = 64
EXPLODED = 1e6
"""A loss this many times above both the initial loss and the zero function's has diverged."""
_LISTEN_SECONDS = 0.05

Stopped = Callable[[], frozenset[int]]


def train(
    stack: Stack, device: str = "cpu", *, block_seconds: float = 1.0, stopped: Stopped = frozenset
) -> Iterator[Block]:
    """Train every lane of a stack to its end.

    Args:
        stack: lanes that share what `service.stacking.stack_key` hashes.
        device: a torch device.
        block_seconds: about how often a block is yielded, also when nothing was measured.
        stopped: asked about every 50 ms for the lanes to drop; they end without a further row.
    Yields:
        Blocks; the last one, and no other, has `last` set.
    Raises:
        ValueError: settings that the kernels refuse.
    """
    with torch.inference_mode():
        yield from _Run(stack, torch.device(device), block_seconds, stopped).blocks()


class _Run:
    """The whole state of a running stack. `lanes` are the numbers, in the stack, of those still running."""

    def __init__(self, stack: Stack, device: torch.device, block_seconds: float, stopped: Stopped) -> None:
        self.settings = settings = stack.lanes[0].settings
        training, network = settings["training"], settings["network"]
        self.lanes = list(range(len(stack.lanes)))
        self.block_seconds, self.stopped = block_seconds, stopped
        dtype = getattr(torch, training["dtype"])
        data = [_data(lane, stack.arrays) for lane in stack.lanes]
        x, y, x_test, y_test = (torch.stack(parts).to(device) for parts in zip(*data, strict=True))
        widths = (x.shape[-1], *network["width"], y.shape[-1])
        self.architecture = Architecture(
            widths,
            network.get("activation", "linear"),
            network.get("slope", 0.1),
            network["bias"],
            network["parameterization"],
        )
        initial = [_weights(lane, widths, stack.arrays) for lane in stack.lanes]
        weights = tuple(torch.stack(layer).to(device, dtype) for layer in zip(*initial, strict=True))
        self.weights: Params = (*weights, *self.architecture.zero_biases(weights))
        self.loss_name, self.loss = training["loss"], loss_of(training["loss"])
        self.data = measured_data(self.architecture, x, y, x_test, y_test, self.loss_name)
        self.x, self.y = x.to(dtype), y.to(dtype)
        self.moments: Moments | None = None
        self.batches: Batches | None = None
        if "batch_size" in training:
            seeds = [lane.seed for lane in stack.lanes]
            self.batches = Batches(seeds, x.shape[1], training["batch_size"], training["batch_order"])
        elif self.architecture.is_product and self.loss_name in LOSS_FACTORS:
            self.moments = Moments(*(part.to(dtype) for part in moments(x, y, self.loss_name)))
        self.rule = OPTIMIZERS[training["optimizer"]]
        self.state = self.rule.init(self.weights)
        self.hyperparameters = _hyperparameters(stack.lanes, dtype, device)
        self.learning_rate, self.weight_decay = (
            torch.tensor([lane.settings["training"][name] for lane in stack.lanes], dtype=torch.float64, device=device)
            for name in ("learning_rate", "weight_decay")
        )
        self.step, self.factors = 0, 0.0
        measured = settings["measure"]
        self.request = Request(
            tuple(measured["metrics"]), tuple(measured["layers"]), tuple(measured.get("exponents", ()))
        )
        self.initial = tuple(w.clone() for w in self.weights) if needs_initial(self.request.metrics) else None
        self.rows = Rows(self.request)
        self.explodes_at = EXPLODED * torch.maximum(self._train_loss(), self.data.zero_loss)
        self._reset()

    def _reset(self) -> None:
        self.ended: list[LaneEnd] = []
        self.lane_steps, self.training_seconds, self.measuring_seconds = 0, 0.0, 0.0
        self.yielded = self.listened = time.monotonic()

    def blocks(self) -> Iterator[Block]:
        """Alternate between steps and measurements until no lane is left or the last step is measured."""
        for target in measured_steps(self.settings):
            while self.step < target and self.lanes:
                self._advance(min(target, (self.step // CHECK_STEPS + 1) * CHECK_STEPS))
                if self.step < target and self.step % CHECK_STEPS == 0:
                    self._end_diverged()
                if time.monotonic() - self.yielded > self.block_seconds:
                    yield self._block(last=False)
            if not self.lanes:
                break
            self._measure()
        yield self._block(last=True)

    def _advance(self, target: int) -> None:
        """Step towards `target`; return early to be listened to or to yield a block."""
        started = time.monotonic()
        first = self.step
        while self.step < target:
            self._step()
            now = time.monotonic()
            if now - self.listened > _LISTEN_SECONDS:
                self.listened = now
                break
        self.lane_steps += (self.step - first) * len(self.lanes)
        self.training_seconds += time.monotonic() - started
        dropped = self.stopped()
        if dropped:
            self._keep([place for place, lane in enumerate(self.lanes) if lane not in dropped])

    def _step(self) -> None:
        if self.moments is not None:
            found = moment_gradients(self.architecture.effective(self.weights), self.moments)
            found = self.architecture.pulled_back(found)
        else:
            x, y = self._batch()
            found, _ = gradients(self.architecture, self.weights, x, y, self.loss)
        hyperparameters = self.hyperparameters
        training = self.settings["training"]
        if training["schedule"] != "constant":
            now = factor(
                training["schedule"],
                self.step,
                training["steps"],
                training.get("schedule_steps", 1),
                training.get("schedule_factor", 1.0),
            )
            hyperparameters = {**hyperparameters, "learning_rate": hyperparameters["learning_rate"] * now}
            self.factors += now
        else:
            self.factors += 1.0
        self.weights, self.state = self.rule.step(self.weights, found, self.state, hyperparameters)
        self.step += 1

    def _batch(self) -> tuple[Tensor, Tensor]:
        if self.batches is None:
            return self.x, self.y
        rows = self.batches.next().to(self.x.device)
        lanes = torch.arange(rows.shape[0], device=rows.device)[:, None]
        return self.x[lanes, rows], self.y[lanes, rows]

    def _train_loss(self) -> Tensor:
        """(K,) loss on the whole training set, float64."""
        weights = tuple(weight.to(torch.float64) for weight in self.weights)
        return self.loss.value(forward(self.architecture, weights, self.data.x), self.data.y)

    def _measure(self) -> None:
        started = time.monotonic()
        measured = self._measured(slice(None))
        self.rows.add(self.lanes, self.step, self.learning_rate * self.factors, measured)
        self.measuring_seconds += time.monotonic() - started
        self._end(measured.network["train_loss"])

    def _end(self, loss: Tensor) -> None:
        """End the measured lanes that have diverged, are at the last step, or are below `stop.loss_below`."""
        training = self.settings["training"]
        healthy = (loss <= self.explodes_at).tolist()  # false for NaN
        enough = training["stop"]["loss_below"] if "stop" in training else 0.0
        is_last = self.step == training["steps"]
        finished = [fine and (is_last or value < enough) for fine, value in zip(healthy, loss.tolist(), strict=True)]
        for lane, fine, done in zip(self.lanes, healthy, finished, strict=True):
            if done or not fine:
                self.ended.append(LaneEnd(lane, "completed" if fine else "diverged", self.step))
        self._keep([p for p in range(len(healthy)) if healthy[p] and not finished[p]])

    def _end_diverged(self) -> None:
        """End lanes that have diverged between two measured steps, each with a row at this step."""
        healthy = (self._train_loss() <= self.explodes_at).tolist()
        bad = [place for place, fine in enumerate(healthy) if not fine]
        if bad:
            self._measure_some(bad)
            self.ended += [LaneEnd(self.lanes[place], "diverged", self.step) for place in bad]
            self._keep([place for place, fine in enumerate(healthy) if fine])

    def _measure_some(self, places: list[int]) -> None:
        index = torch.tensor(places, device=self.x.device)
        self.rows.add(
            [self.lanes[place] for place in places],
            self.step,
            self.learning_rate[index] * self.factors,
            self._measured(index),
        )

    def _measured(self, index: Tensor | slice) -> Measured:
        """Every metric asked for, of the running lanes at these places."""
        return measure(
            self.architecture,
            tuple(weight[index] for weight in self.weights),
            self.data.select(index),
            self.request,
            self.loss_name,
            initial=None if self.initial is None else tuple(weight[index] for weight in self.initial),
            weight_decay=self.weight_decay[index],
        )

    def _keep(self, places: list[int]) -> None:
        """Compact the stack to the lanes at these places."""
        if len(places) == len(self.lanes):
            return
        self.lanes = [self.lanes[place] for place in places]
        index = torch.tensor(places, dtype=torch.long, device=self.x.device)
        self.weights, self.x, self.y = tuple(w[index] for w in self.weights), self.x[index], self.y[index]
        self.data = self.data.select(index)
        self.state = _selected(self.state, index)
        self.hyperparameters = {name: value[index] for name, value in self.hyperparameters.items()}
        self.learning_rate, self.weight_decay = self.learning_rate[index], self.weight_decay[index]
        self.explodes_at = self.explodes_at[index]
        if self.initial is not None:
            self.initial = tuple(weight[index] for weight in self.initial)
        if self.moments is not None:
            self.moments = Moments(self.moments.xx[index], self.moments.yx[index])
        if self.batches is not None:
            self.batches.select(index.cpu())

    def _block(self, *, last: bool) -> Block:
        network, layers, parametrised = self.rows.take()
        block = Block(
            network,
            layers,
            parametrised,
            tuple(self.ended),
            self.lane_steps,
            self.training_seconds,
            self.measuring_seconds,
            last,
        )
        self._reset()
        return block


def _data(lane: Lane, arrays: Mapping[str, Mapping[str, Any]]) -> Data:
    settings = dict(lane.settings["data"])
    if "dataset_id" in settings:
        settings["arrays"] = arrays[settings.pop("dataset_id")]
    kind, fixed = settings.pop("kind"), settings.pop("seed", None)
    return make_data(kind, lane.seed if fixed is None else fixed, **settings)


def _weights(lane: Lane, widths: tuple[int, ...], arrays: Mapping[str, Mapping[str, Any]]) -> list[Tensor]:
    settings = dict(lane.settings["init"])
    if "weights_id" in settings:
        settings["arrays"] = arrays[settings.pop("weights_id")]
    return initial_weights(settings.pop("scheme"), widths, lane.seed, **settings)


def _hyperparameters(lanes: tuple[Lane, ...], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """(K, 1, 1) per hyper-parameter that the rule reads."""
    rule = names.OPTIMIZERS[lanes[0].settings["training"]["optimizer"]]
    wanted = ("learning_rate", "weight_decay", *rule.hyperparameters)
    return {
        name: torch.tensor([lane.settings["training"][name] for lane in lanes], dtype=dtype, device=device).view(
            -1, 1, 1
        )
        for name in wanted
    }


def _selected(state: Any, index: Tensor) -> Any:
    """The lanes `index` of an optimiser state: tensors are indexed, tuples entered, numbers kept."""
    if isinstance(state, Tensor):
        return state[index]
    if isinstance(state, tuple):
        parts = [_selected(part, index) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state
