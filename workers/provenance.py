"""Where and how trials were trained, as it is kept with them."""

from collections.abc import Mapping
from typing import Any

from nfa_kernels import names
from service.grid.remeasurement import newer_definitions
from service.store.leases import Leased
from workers.blocks import LaneEnd
from workers.running import Running


def provenance_of(running: Running, about: Mapping[str, Any]) -> dict[str, Any]:
    """Of a stack's trials.

    Args:
        running: the stack.
        about: what its trainer says of itself.
    """
    settings = running.trials[0].settings
    newer = newer_definitions(settings["measure"])
    return {
        "kernels": names.NUMERICAL_VERSION,
        "streams": names.STREAM_VERSION,
        "torch": about.get("torch"),
        "device": about.get("device"),
        "processor": about.get("processor"),
        "dtype": settings["training"]["dtype"],
        "host": about.get("host"),
        "node": about.get("node"),
        "stack_lanes": len(running.trials),
        "compiled_steps": running.is_compiled,
        **({"captured_steps": True} if running.is_captured else {}),
        **running.spent(),
        **({"definitions": newer} if newer else {}),
    }


def reached(trial: Leased, end: LaneEnd) -> dict[str, Any]:
    """What provenance says of one trial: why it ended, and whose beginning it went on from."""
    lineage = {} if trial.continued_from is None else {"continued_from": trial.continued_from}
    return {"ended": end.reason} | lineage
