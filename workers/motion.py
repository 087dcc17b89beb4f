"""How a stack moves from one measured point to the next: by steps of an optimiser, or along gradient flow."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.cost import CHECK_STEPS
from nfa_kernels.native.call import Looks
from nfa_kernels.networks import Params
from workers.captured import CapturedSteps, is_on
from workers.checkpoints import Named, flattened, like
from workers.compiled import CompiledSteps
from workers.flowing import Flowing
from workers.goals import Goals
from workers.looks import Look, points_and_checks
from workers.paces import Paces
from workers.steps import Coming, Steps
from workers.training_data import Data
from workers.updates import Updates, numbers

Training = Mapping[str, Any]


class Motion(Protocol):
    """A stack that moves; the points where it is measured or its weights are kept are numbered from 0."""

    @property
    def weights(self) -> Params:
        """Weights and biases, in the training's dtype or, where they decay weakly in float32, in float64."""
        ...

    @property
    def points(self) -> int:
        """How many points there are; at the last one the networks that are left are measured."""
        ...

    @property
    def at_check(self) -> bool:
        """Whether the last `advance` ended where divergence is to be looked for."""
        ...

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code makes the steps, and not the tensor library."""
        ...

    @property
    def is_captured(self) -> bool:
        """Whether a captured graph has made steps of it, on a CUDA device."""
        ...

    @property
    def step(self) -> int:
        """What the rows measured now are numbered."""
        ...

    @property
    def time(self) -> Tensor:
        """(K,) sum of learning rates, or flow time."""
        ...

    def measured(self, number: int) -> list[int]:
        """Places in the stack of the networks that are measured at a point."""
        ...

    def kept(self, number: int) -> list[int]:
        """Places of the networks whose weights at a point are kept."""
        ...

    def ending(self, number: int) -> frozenset[int]:
        """Places of the networks that end at a point; all do at the last one."""
        ...

    def reached(self, number: int) -> bool:
        """Whether the stack is at a point."""
        ...

    def advance(self, number: int) -> int:
        """Move a little towards a point; how many steps that were, summed over the networks."""
        ...

    def coming(self, number: int, most: int) -> list[Look]:
        """The looks that `film` can go through, on the way to a point and beyond it; none where it cannot.

        Args:
            number: of the point.
            most: looks.
        """
        ...

    def film(self, looks: Sequence[Look]) -> tuple[Params, Tensor]:
        """Move to the last of these looks: weights (S, K, ..) at points, then at checks; time (S, K) at each look."""
        ...

    def stuck(self) -> list[tuple[int, str]]:
        """Places in the stack of networks that cannot move any more, and why."""
        ...

    def keep(self, index: Tensor) -> None:
        """Keep the networks at these places."""
        ...

    def checkpoint_step(self, number: int) -> int:
        """On the way to a point: rows numbered up to this have been measured, those of later points are higher."""
        ...

    def state(self, number: int) -> Named:
        """Everything that `restore` needs to go on to the same numbers, on the way to a point."""
        ...

    def restore(self, state: Named) -> int:
        """Go on from a state; the stack has just been made of the same trials. The number of the point to go to."""
        ...


class Stepping:
    """Motion by the steps of an optimiser."""

    def __init__(self, weights: Params, data: Data, settings: Mapping[str, Any], lanes: Sequence[Training]) -> None:
        self._data = data
        # lanes of one stack agree in it; see service/grid/stacking.py
        is_wide = any(names.has_wide_weights(one, data.parameterization) for one in lanes)
        self.weights = weights = weights if is_wide else tuple(weight.to(data.dtype) for weight in weights)
        self._goals, self._paces = Goals(settings, [one["steps"] for one in lanes]), Paces(lanes)
        self.points = len(self._goals)
        self._updates = Updates(data.owners, weights, lanes)
        self._steps = Steps(data, self._updates, is_wide=is_wide)
        self._rate = numbers(lanes, "learning_rate", weights[0].device)
        self.step, self.at_check = 0, False
        self._compiled = data.compiled(self._updates, weights)
        self._captured = CapturedSteps(self._steps.moved, CHECK_STEPS) if is_on(weights[0].device) else None

    @property
    def is_compiled(self) -> bool:
        """By rule, network, device and compiler."""
        return self._compiled is not None

    @property
    def is_captured(self) -> bool:
        """Once a step was replayed."""
        return self._captured is not None and self._captured.has_run

    @property
    def time(self) -> Tensor:
        """(K,) sum of the learning rates."""
        return self._rate * self._paces.sums.to(self._rate.device)

    def measured(self, number: int) -> list[int]:
        """Places of the networks for which a point is one of their measured steps."""
        return self._goals.measured(number)

    def kept(self, number: int) -> list[int]:
        """Places of the networks for which it is one of the steps under `measure.weights`."""
        return self._goals.kept(number)

    def ending(self, number: int) -> frozenset[int]:
        """Places of the networks for which it is the last step."""
        return self._goals.ending(number)

    def reached(self, number: int) -> bool:
        """Whether that many steps are done."""
        return self.step >= self._goals[number]

    def advance(self, number: int) -> int:
        """Step; at multiples of 64 steps divergence is looked for, whatever the stack or the measured points."""
        before = self.step
        if self._compiled is not None:
            self._run_compiled(self._compiled, min(self._unlooked(number), self._compiled.most))
        elif self._captured is not None and self._captured.takes(before, self._unlooked(number)):
            self._run_captured(self._captured, self._unlooked(number))
        else:
            self._step()
        self.at_check = self.step % CHECK_STEPS == 0
        return (self.step - before) * len(self._rate)

    def coming(self, number: int, most: int) -> list[Look]:
        """What compiled code reaches in one call, up to where weights are kept, some lanes are measured or some end."""
        looks, step = list[Look](), self.step
        last = step + self._compiled.most if self._compiled is not None else step
        while len(looks) < most and number < self.points:
            step = min(self._goals[number], _next_check(step))
            is_point = step == self._goals[number]
            if step > last or (is_point and not self._goals.is_plain(number)):
                break
            looks.append(Look(step, number if is_point else None))
            if is_point and self._goals.ending(number):
                break
            number += is_point
        return looks

    def film(self, looks: Sequence[Look]) -> tuple[Params, Tensor]:
        """By compiled code, which writes the weights down as it passes."""
        assert self._compiled is not None
        first, paces, sums = self.step, list[float | Tensor](), list[Tensor]()
        for look in looks:
            paces += self._paces_of(look.step - self.step)
            sums.append(self._paces.sums)
        frames = tuple(weight.new_empty((len(looks), *weight.shape)) for weight in self.weights)
        places = {at: place for place, at in enumerate(itertools.chain(*points_and_checks(looks)))}
        seen = Looks(tuple(look.step - first for look in looks), tuple(places[at] for at in range(len(looks))), frames)
        self._compiled.run(self.weights, self._data.of_steps(self.step - first), paces, seen)
        self.at_check = self.step % CHECK_STEPS == 0
        return frames, self._rate * torch.stack(sums).to(self._rate.device)

    def stuck(self) -> list[tuple[int, str]]:
        """Never: an optimiser always has a next step."""
        return []

    def keep(self, index: Tensor) -> None:
        """Keep the networks at these places."""
        self.weights = tuple(weight[index] for weight in self.weights)
        self._data.keep(index)
        self._goals.keep(index.tolist())
        self._paces.keep(index)
        self._updates.keep(index)
        self._rate = self._rate[index]
        if self._compiled is not None:
            self._compiled.keep()
        if self._captured is not None:
            self._captured.keep(self.step)

    def checkpoint_step(self, number: int) -> int:
        """The steps done."""
        return self.step

    def state(self, number: int) -> Named:
        """Weights, the optimiser's state, minibatches, step and time; which point is next follows from the step."""
        lanes = len(self._rate)
        counts = {"step": torch.full((lanes,), self.step), "factors": self._paces.sums}
        moving = flattened((self.weights, self._updates.state), "moving", lanes)
        return counts | moving | self._data.state()

    def restore(self, state: Named) -> int:
        """Go on from there."""
        self.step = int(state["step"][0])
        self._paces.restore(state["factors"])
        found: Any = like((self.weights, self._updates.state), "moving", state)
        self.weights, self._updates.state = found
        self._data.restore(state)
        return self._goals.after(self.step)

    def _unlooked(self, number: int) -> int:
        """Steps until somebody looks: at a point, or for divergence."""
        return min(self._goals[number], _next_check(self.step)) - self.step

    def _paces_of(self, steps: int) -> list[float | Tensor]:
        """Factors of the next steps, which are counted as done."""
        first, self.step = self.step, self.step + steps
        return self._paces.several(first, steps)

    def _run_compiled(self, compiled: CompiledSteps, steps: int) -> None:
        compiled.run(self.weights, self._data.of_steps(steps), self._paces_of(steps))

    def _run_captured(self, captured: CapturedSteps, steps: int) -> None:
        paces, rows = self._paces_of(steps), self._data.rows_of_steps(steps)
        coming = Coming(steps, None if self._paces.is_constant else paces, rows)
        self.weights, self._updates.state = captured.run((self.weights, self._updates.state), coming)

    def _step(self) -> None:
        (pace,) = self._paces_of(1)
        self.weights, self._updates.state = self._steps.moved((self.weights, self._updates.state), pace)


def _next_check(step: int) -> int:
    """Where divergence is looked for next."""
    return step - step % CHECK_STEPS + CHECK_STEPS


def motion(weights: Params, data: Data, settings: Mapping[str, Any], lanes: Sequence[Training]) -> Motion:
    """The motion that the settings ask for.

    Args:
        weights: initial parameters of the stack, in float64.
        data: what the gradients are taken on.
        settings: canonical settings that the stack shares.
        lanes: canonical `training` settings of every network, which may differ in numbers.
    """
    kind = Flowing if settings["training"]["optimizer"] == "gradient_flow" else Stepping
    return kind(weights, data, settings, lanes)


def loss_numbers(lanes: Sequence[Training], device: torch.device) -> dict[str, Tensor]:
    """(K,) per number that the loss reads beside the targets; empty where no network's differs from none at all."""
    read = names.LOSS_NUMBERS.get(lanes[0]["loss"], ())
    said = [name for name in read if any(name in training for training in lanes)]
    return {
        name: torch.tensor([training.get(name, 0.0) for training in lanes], dtype=torch.float64, device=device)
        for name in said
    }
