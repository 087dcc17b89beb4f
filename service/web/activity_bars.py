"""The last hour as bars: a column for each five minutes, its trials stacked by the state they ended in. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from service.states import TrialState
from service.store.activity import Bucket

WIDTH: Final = 60
"""Of a column with the gap to the next, in units of the drawing."""
HEIGHT: Final = 100
_ORDER: Final = (TrialState.COMPLETED, TrialState.DIVERGED, TrialState.FAILED, TrialState.CANCELLED)


class Part(NamedTuple):
    """A rectangle."""

    x: int
    y: float
    height: float
    state: TrialState


class Bars(NamedTuple):
    """Rectangles, the number at the top of the drawing, and the hour in words for who does not see it."""

    parts: list[Part]
    most: int
    says: str


def bars(buckets: Sequence[Bucket]) -> Bars:
    """Columns as high as the fullest one allows."""
    most = max((sum(one.ended.values()) for one in buckets), default=0)
    parts: list[Part] = []
    for place, one in enumerate(buckets):
        top = float(HEIGHT)
        for state in _ORDER:
            count = one.ended.get(state, 0)
            if count:
                height = round(HEIGHT * count / most, 2)
                top -= height
                parts.append(Part(place * WIDTH, round(top, 2), height, state))
    sums = {state: sum(one.ended.get(state, 0) for one in buckets) for state in _ORDER}
    told = ", ".join(f"{count} {state.value}" for state, count in sums.items() if count)
    return Bars(parts, most, told or "none")
