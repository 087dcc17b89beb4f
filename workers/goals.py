"""Where the networks of a stack are to be measured, each at its own steps, and which of them are at a step."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from service.grid.measured_steps import measured_steps


class Goals:
    """The steps of a stack at which some network is measured or its weights are kept, numbered from 0.

    Args:
        settings: canonical settings that the stack shares.
        lasts: last step of every network.
    """

    def __init__(self, settings: Mapping[str, Any], lasts: Sequence[int]) -> None:
        measure, self._lasts = settings["measure"], list(lasts)
        self._measured = {
            last: frozenset(measured_steps({"measure": measure, "training": {"steps": last}})) for last in set(lasts)
        }
        self._kept = frozenset(measure.get("weights", ()))
        longest = max(lasts)
        # stopping once more changes no number: divergence is looked for where it always is
        self._steps = sorted({step for step in self._kept if step <= longest}.union(*self._measured.values()))

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, number: int) -> int:
        return self._steps[number]

    def after(self, step: int) -> int:
        """Number of the first goal beyond a step."""
        return bisect_right(self._steps, step)

    def measured(self, number: int) -> list[int]:
        """Places in the stack of the networks that are measured at a goal."""
        step = self._steps[number]
        now = {last for last, steps in self._measured.items() if step in steps}
        return [place for place, last in enumerate(self._lasts) if last in now]

    def is_plain(self, number: int) -> bool:
        """Whether every network is measured at a goal, and no weights are kept."""
        step = self._steps[number]
        return step not in self._kept and all(step in steps for steps in self._measured.values())

    def kept(self, number: int) -> list[int]:
        """Places of the networks whose weights are kept at a goal."""
        step = self._steps[number]
        return [place for place, last in enumerate(self._lasts) if step <= last] if step in self._kept else []

    def ending(self, number: int) -> frozenset[int]:
        """Places of the networks whose last step a goal is."""
        step = self._steps[number]
        return frozenset(place for place, last in enumerate(self._lasts) if last <= step)

    def keep(self, places: Sequence[int]) -> None:
        """Keep the networks at these places."""
        self._lasts = [self._lasts[place] for place in places]
        self._measured = {last: self._measured[last] for last in set(self._lasts)}
