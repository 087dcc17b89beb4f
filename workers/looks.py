"""Where a stack that moves is looked at, and which of its networks end there."""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from nfa_kernels.cost import LOOK_BYTES, LOOKS_AT_ONCE
from workers.blocks import COLLAPSED, EXPLODED, LAST_STEP

LISTEN_SECONDS = 0.05
"""About how often a stack hears what it is told, and how often it may be heard of at most."""
MEASURED_SECONDS = 0.05
"""What is measured at once takes about so long at most."""


class Look(NamedTuple):
    """One look at a stack."""

    step: int
    number: int | None
    """Of the point at which all of its networks are measured; None: divergence and collapse alone are looked for."""


def points_and_checks(looks: Sequence[Look]) -> tuple[list[int], list[int]]:
    """Numbers of the looks that are at points, and of the others."""
    of_points = [at for at, look in enumerate(looks) if look.number is not None]
    return of_points, [at for at, look in enumerate(looks) if look.number is None]


def looks_at_once(bytes_of_look: int, point_seconds: float, hear_seconds: float) -> int:
    """How many looks a stack may go through in one call; 1: it is looked at one look at a time.

    Args:
        bytes_of_look: that weights and data of the stack take.
        point_seconds: that measuring it at a point has taken last.
        hear_seconds: how often somebody wants to hear of it.
    """
    if hear_seconds < LISTEN_SECONDS:
        return 1
    in_time = MEASURED_SECONDS / max(1e-9, point_seconds)
    return max(1, int(min(LOOKS_AT_ONCE, LOOK_BYTES // max(1, bytes_of_look), in_time)))


class End(NamedTuple):
    """How a network ends where it was looked at."""

    look: int
    """Number of the look, from 0."""
    state: str
    reason: str
    goes_on: bool = False
    """Whether it would, if it had more steps to do."""


def end_at(look: int, *, is_healthy: bool, is_last: bool, stop: str | None, has_collapsed: bool) -> End | None:
    """How a network ends at a look, if it does.

    Args:
        look: its number.
        is_healthy: whether its loss is a number and has not exploded.
        is_last: whether this is its last step.
        stop: why its settings stop it here, if they do.
        has_collapsed: whether it has decayed to where its arithmetic underflows.
    """
    if not is_healthy:
        return End(look, "diverged", EXPLODED)
    if is_last:
        return End(look, "completed", LAST_STEP, stop is None and not has_collapsed)
    if stop is not None or has_collapsed:
        return End(look, "completed", stop or COLLAPSED)
    return None


def first_ends(
    healthy: Sequence[Sequence[bool]],
    collapsed: Sequence[Sequence[bool]],
    stops: Mapping[int, Mapping[int, str]],
    last: Set[int],
) -> dict[int, End]:
    """Place in the stack -> how the network there ends, at the first of several looks where one does.

    Args:
        healthy: by look and place.
        collapsed: by look and place.
        stops: look -> place -> why its settings stop it there.
        last: places of the networks for which the last look is at their last step.
    """
    ends = dict[int, End]()
    for look, (fine, gone) in enumerate(zip(healthy, collapsed, strict=True)):
        is_final, reasons = look == len(healthy) - 1, stops.get(look, {})
        if all(fine) and not any(gone) and not reasons and not (is_final and last):
            continue
        for place, (is_healthy, has_collapsed) in enumerate(zip(fine, gone, strict=True)):
            if place in ends:
                continue
            found = end_at(
                look,
                is_healthy=is_healthy,
                is_last=is_final and place in last,
                stop=reasons.get(place),
                has_collapsed=has_collapsed,
            )
            if found is not None:
                ends[place] = found
    return ends
