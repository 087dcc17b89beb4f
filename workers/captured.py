"""Steps on a CUDA device, captured once as a graph of launches and replayed: docs/decisions/0032-captured-steps.md.

A graph repeats what it was captured with, to the address: whatever a step takes from the program is frozen in it. So a
captured step reads and writes fixed arrays alone. What differs from step to step lies on the device: the rule's counts,
and, of the steps to come, the schedule's factors and the rows of minibatches, picked by a counter. Everything there is
written anew before each run from what the program says, so that nothing can drift. The first steps that are replayed
are made once more without a graph; where the two differ the graph is dropped.
"""

import functools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from nfa_kernels.at_once import sent
from workers.steps import Coming, Moving

log = logging.getLogger(__name__)

SWITCH = "NFA_CUDA_GRAPHS"
"""Environment variable: 1 has the steps of stacks on a CUDA device captured."""
SETTLED_STEPS = 256
"""That a stack has gone with the same networks before a step is captured, which takes longer than making some."""
COMPARED_STEPS = 4
"""That are replayed and made without a graph, at the beginning of each."""
ALLOWED = {torch.float64: 1e-13, torch.float32: 1e-6}
"""Between the two, of the largest number of a network's array."""

Move = Callable[[Moving, float | Tensor, Tensor | None], Moving]
"""One step from what moves, the factor on the rates, and the rows of the minibatch."""


class Graph(Protocol):
    """What was captured."""

    def replay(self) -> None:
        """Launch it once more."""
        ...


class _Fixed(NamedTuple):
    """Arrays that a captured step reads and writes."""

    moving: Any
    """What moves, with each whole number as a tensor ()."""
    at: Tensor
    """(1,) the step's place among those to come."""
    paces: Tensor | None
    """(most,) or (most, K, 1, 1), float64."""
    rows: Tensor | None
    """(most, K, size)."""


def is_on(device: torch.device) -> bool:
    """Whether steps on a device are to be captured."""
    return device.type == "cuda" and os.environ.get(SWITCH) == "1"


class CapturedSteps:
    """Makes steps by replaying a graph, one for each set of networks; without one where none can be had.

    Args:
        move: makes a step without a graph.
        most: steps at a time.
    """

    def __init__(self, move: Move, most: int) -> None:
        self._move, self._most, self._since, self._is_off = move, most, 0, False
        self._held: tuple[Graph, _Fixed] | None = None
        self.has_run = False
        """Whether steps were replayed that count."""

    def takes(self, step: int, steps: int) -> bool:
        """Whether the next steps are for `run`.

        Args:
            step: that has been reached.
            steps: until somebody looks at the stack.
        """
        if self._held is not None:
            return True
        return not self._is_off and step - self._since >= SETTLED_STEPS and steps >= COMPARED_STEPS

    def keep(self, step: int) -> None:
        """Drop the graph: at this step the stack has lost networks."""
        self._held, self._since = None, step

    def run(self, moving: Moving, coming: Coming) -> Moving:
        """What moves after the steps to come, in arrays that are written over by the next run."""
        if self._held is not None:
            return self._replayed(*self._held, moving, coming, coming.count)
        try:
            fixed = self._fixed(moving, coming)
            graph = captured(lambda: self._step(fixed))
        except RuntimeError as error:
            return self._without(f"no graph of a step could be captured: {error}", moving, coming, 0)
        # launched last, since they may be written over the weights that both begin from
        found = self._replayed(graph, fixed, moving, coming, COMPARED_STEPS)
        plain = self._plain(moving, coming, 0, COMPARED_STEPS)
        if not _is_close(fixed.moving, plain):
            del graph
            return self._without("replayed steps differ from steps without a graph", plain, coming, COMPARED_STEPS)
        self._held, self.has_run = (graph, fixed), True
        for _ in range(coming.count - COMPARED_STEPS):
            graph.replay()
        return _counted(found, coming.count - COMPARED_STEPS)

    def _replayed(self, graph: Graph, fixed: _Fixed, moving: Moving, coming: Coming, steps: int) -> Moving:
        """The first of the steps to come, by a graph; counts are the program's again."""
        for own, given in zip(_leaves(fixed.moving), _leaves(moving), strict=True):
            if own is not given:
                own.copy_(given) if isinstance(given, Tensor) else own.fill_(given)
        if fixed.paces is not None:
            assert coming.paces is not None
            own = torch.stack([torch.as_tensor(pace, dtype=torch.float64) for pace in coming.paces])
            fixed.paces[: coming.count] = sent(own, fixed.at.device)
        if fixed.rows is not None:
            assert coming.rows is not None
            fixed.rows[: coming.count] = coming.rows
        fixed.at.zero_()
        for _ in range(steps):
            graph.replay()
        counts = _counted(moving, steps)
        return _mapped(lambda own, given: own if isinstance(given, Tensor) else given, fixed.moving, counts)

    def _plain(self, moving: Moving, coming: Coming, first: int, until: int) -> Moving:
        """Some of the steps to come, without a graph."""
        for place in range(first, until):
            moving = self._move(moving, coming.pace(place), coming.rows_at(place))
        return moving

    def _without(self, why: str, moving: Moving, coming: Coming, done: int) -> Moving:
        """The rest of the steps to come without a graph, as all that follow."""
        _say(why)
        self._is_off = True
        return self._plain(moving, coming, done, coming.count)

    def _fixed(self, moving: Moving, coming: Coming) -> _Fixed:
        device = moving[0][0].device

        def own(given: Any) -> Tensor:
            return given.clone() if isinstance(given, Tensor) else torch.full((), given, device=device)

        paces = rows = None
        if coming.paces is not None:
            shape = torch.as_tensor(coming.paces[0]).shape
            paces = torch.ones((self._most, *shape), dtype=torch.float64, device=device)
        if coming.rows is not None:
            rows = coming.rows.new_zeros((self._most, *coming.rows.shape[1:]))
        return _Fixed(_mapped(own, moving), torch.zeros(1, dtype=torch.long, device=device), paces, rows)

    def _step(self, fixed: _Fixed) -> None:
        """One step over the fixed arrays: what is captured."""
        pace = 1.0 if fixed.paces is None else fixed.paces.index_select(0, fixed.at)[0]
        rows = None if fixed.rows is None else fixed.rows.index_select(0, fixed.at)[0]
        after = self._move(fixed.moving, pace, rows)
        for own, new in zip(_leaves(fixed.moving), _leaves(after), strict=True):
            if own is not new:
                own.copy_(new)
        fixed.at.add_(1)


def captured(step: Callable[[], None]) -> Graph:
    """A graph of what a step launches; it is made once before, on a stream of its own, and captured without being made.

    Raises:
        RuntimeError: it cannot be captured.
    """
    here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        # libraries look for their algorithms and take their memory
        step()
    here.wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # another thread may draw data meanwhile, and pin memory for them
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph


@functools.cache
def _say(why: str) -> None:
    """Say once why steps are made without a graph."""
    log.warning("steps on the GPU are launched one by one: %s", why)


def _leaves(moving: Any) -> Iterator[Any]:
    """The tensors and whole numbers of a nested tuple."""
    if isinstance(moving, tuple):
        for part in moving:
            yield from _leaves(part)
    else:
        yield moving


def _mapped(made: Callable[..., Any], *moving: Any) -> Any:
    """A nested tuple of what is made of each leaf, or of leaves at one place in several tuples."""
    first = moving[0]
    if not isinstance(first, tuple):
        return made(*moving)
    parts = [_mapped(made, *parts) for parts in zip(*moving, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def _counted(moving: Moving, steps: int) -> Moving:
    """With so many steps more in every count."""
    return _mapped(lambda leaf: leaf if isinstance(leaf, Tensor) else leaf + steps, moving)


def _is_close(replayed: Any, plain: Moving) -> bool:
    """Whether a graph gave the numbers of steps without one, counts exactly and arrays to rounding; waits for both."""
    differences = []
    for own, other in zip(_leaves(replayed), _leaves(plain), strict=True):
        if not isinstance(other, Tensor):
            differences.append((own != other).to(torch.float64) * 2)
        else:
            differences.append(_difference(own, other) / ALLOWED[other.dtype])
    return bool((torch.stack(differences) <= 1).all())


def _difference(one: Tensor, other: Tensor) -> Tensor:
    """() the largest |a - b| over its network's largest |b|, of arrays (K, ..); networks that are no numbers in both
    are about to end."""
    one, other = one.flatten(1).double(), other.flatten(1).double()
    gap = (one - other).abs().amax(1) / other.abs().amax(1).clamp_min(torch.finfo(torch.float64).tiny)
    are_none = ~one.isfinite().all(1) & ~other.isfinite().all(1)
    return torch.where(are_none, 0.0, gap).nan_to_num(torch.inf, torch.inf).amax()
