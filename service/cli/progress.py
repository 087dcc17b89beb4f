"""Shows how far an experiment is: trials by state, steps per second, time left, and how its alignment develops."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from service.schemas.experiments import ExperimentDetail
from service.states import ENDED

_WINDOW_SECONDS = 10.0
_LINE_SECONDS = 5.0
_LOOK_SECONDS = 3.0
_BARS = "▁▂▃▄▅▆▇█"

Look = Callable[[ExperimentDetail], RenderableType]
"""Experiment -> what is to stand below its bar."""


class Speed:
    """Steps per second over the last seconds, from looks at a growing count."""

    def __init__(self, window_seconds: float = _WINDOW_SECONDS) -> None:
        self._looks: deque[tuple[float, int]] = deque()
        self._window_seconds = window_seconds

    def look(self, now: float, done: int) -> float | None:
        """Note a look; answer steps per second, None while nothing has moved."""
        self._looks.append((now, done))
        while now - self._looks[0][0] > self._window_seconds:
            self._looks.popleft()
        first, start = self._looks[0]
        return (done - start) / (now - first) if done > start and now > first else None


class ExperimentProgress:
    """A bar on a terminal; elsewhere a line now and then. Its `show` takes what `Client.wait` reports."""

    def __init__(self, console: Console, look: Look | None = None) -> None:
        self._console, self._speed = console, Speed()
        self._look, self._next_look, self._states = look, float("-inf"), Text("")
        self._below: RenderableType = Text("")
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[words]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("waiting", total=1.0, words="")
        self._live = Live(console=console, get_renderable=self._view, auto_refresh=False)
        self._said, self._said_at = "", 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, experiment: ExperimentDetail) -> None:
        """Show a look at the experiment."""
        now = time.monotonic()
        share = share_done(experiment)
        words = describe(experiment, self._speed.look(now, experiment.steps.done))
        self._bar.update(self._task, description=experiment.state.value, completed=share, words=words)
        is_last = share >= 1
        if self._console.is_terminal:
            self._look_below(experiment, now, is_last=is_last)
            self._live.refresh()
        if not self._console.is_terminal and words != self._said and (is_last or now - self._said_at > _LINE_SECONDS):
            self._console.print(f"{experiment.state.value} {share:4.0%}  {words}")
            self._said, self._said_at = words, now

    def say(self, line: str) -> None:
        """A line above the bar."""
        self._console.print(line)

    def _view(self) -> Group:
        return Group(self._bar, self._states, self._below)

    def _look_below(self, experiment: ExperimentDetail, now: float, *, is_last: bool) -> None:
        """Trials by state, and every few seconds the panes anew; looking takes at most a twentieth of the time."""
        self._states = Text(", ".join(f"{count} {name.value}" for name, count in experiment.counts.items() if count))
        if self._look is not None and (is_last or now > self._next_look):
            self._below = self._look(experiment)
            took = time.monotonic() - now
            self._next_look = now + max(_LOOK_SECONDS, 20 * took)


def share_done(experiment: ExperimentDetail) -> float:
    """Between 0 and 1, by steps; by trials where no steps are known."""
    if experiment.progress >= 1:
        return 1.0
    total = experiment.steps.done + experiment.steps.left
    return min(experiment.steps.done / total, 0.999) if total else experiment.progress


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Values between 0 and 1 as bars, at most `width` of them, spread evenly from the first to the last."""
    count = min(width, len(values))
    places = [round(place * (len(values) - 1) / max(count - 1, 1)) for place in range(count)]
    return "".join(_BARS[min(int(max(values[place], 0.0) * len(_BARS)), len(_BARS) - 1)] for place in places)


def bars(counts: Sequence[int]) -> str:
    """Counts as bars, the highest full; a space for none."""
    most = max(counts, default=0)
    return "".join(_BARS[(len(_BARS) * count - 1) // most] if count else " " for count in counts)


def describe(experiment: ExperimentDetail, speed: float | None) -> str:
    """Trials, speed and time left in at most 45 characters."""
    ended = sum(experiment.counts.get(name, 0) for name in ENDED)
    words = [f"{ended}/{sum(experiment.counts.values())} trials"]
    if speed and experiment.steps.left:
        words += [f"{magnitude(speed)} steps/s", f"{duration(experiment.steps.left / speed)} left"]
    return ", ".join(words)


def magnitude(value: float) -> str:
    """Three digits and a unit: 612, 61.2 k, 6.12 M."""
    for limit, divisor, unit in ((1e3, 1.0, ""), (1e6, 1e3, " k"), (1e9, 1e6, " M")):
        if value < limit * 0.9995:
            return f"{value / divisor:.3g}{unit}"
    return f"{value / 1e9:.3g} G"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
