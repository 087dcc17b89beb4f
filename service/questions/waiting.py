"""Why the trials of an experiment wait although they were asked for, where that is no matter of time. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

NOBODY = "No dispatcher is alive: nothing trains until one is started (`nfa up`)."
NO_GPU = "Its trials ask for a GPU (training.device: gpu), and no trainer has one."


def why_it_waits(grid: Mapping[str, Any], resources: Sequence[Mapping[str, Any]]) -> str:
    """In a sentence; empty where somebody can be expected to train it.

    Args:
        grid: as it is stored.
        resources: of each dispatcher that is alive, as it last told of itself.
    """
    if not resources:
        return NOBODY
    trainers = [trainer for one in resources for trainer in one.get("trainers") or ()]
    has_gpu = any(trainer.get("device") not in (None, "cpu") and not trainer.get("error") for trainer in trainers)
    return NO_GPU if trainers and not has_gpu and _devices(grid) == {"gpu"} else ""


def _devices(grid: Mapping[str, Any]) -> set[Any]:
    """Devices that a grid names, `auto` where it names none."""
    training = (grid.get("trial") or {}).get("training") or {}
    groups = [grid.get("axes") or {}, *(grid.get("zip") or ())]
    varied = [group["training.device"] for group in groups if "training.device" in group]
    found = {str(one) for values in varied if isinstance(values, list) for one in values}
    return found or {training.get("device") or "auto"}
