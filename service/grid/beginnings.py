"""Which trials begin alike: those that differ in their length alone share their first steps. Pure.

A longer trial may go on from where a shorter one ended if every number until there is the same: the settings but for
`training.steps` and when to measure, the seed, and what follows from the length (a schedule, how wide weights are
kept). What was measured until there must hold all that the longer trial would have measured.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from nfa_kernels import names
from service.grid import canonical
from service.grid.measured_steps import measured_steps

WHEN: Final = frozenset({"points", "spacing", "every", "steps", "weights"})
"""Of `measure`: at which steps, which changes no number of those that both trials measure."""
MOST_LOOKED_AT: Final = 32
"""Shorter trials that a longer one is held against, the longest first."""


def beginning(settings: Mapping[str, Any]) -> str | None:
    """What the first steps of canonical settings follow from, as a key; the same for any length.

    None where they follow from the length: a cosine schedule spans all steps, gradient flow has a horizon.
    """
    training = settings["training"]
    if "steps" not in training or training["schedule"] == "cosine" or _reads_length(training.get("stop", {})):
        return None
    shared = {name: value for name, value in settings.items() if name not in ("training", "measure")}
    return canonical.sha256_of(
        canonical.compact(
            {
                **shared,
                "training": {name: value for name, value in training.items() if name != "steps"},
                "measure": {name: value for name, value in settings["measure"].items() if name not in WHEN},
                "wide_weights": names.has_wide_weights(training, settings["network"]["parameterization"]),
                "kernels": names.NUMERICAL_VERSION,
                "streams": names.STREAM_VERSION,
            }
        )
    )


def _reads_length(stop: Mapping[str, Any]) -> bool:
    """Whether what stops a trial asks for its length, or when it is measured."""
    return any(path in stop.get("when", "") for path in ("training.steps", "measure."))


def of_seed(key: str, seed: int) -> str:
    """The beginning of one trial."""
    return canonical.sha256_of(f"{key}:{seed}")


def copied_steps(shorter: Mapping[str, Any], longer: Mapping[str, Any]) -> list[int] | None:
    """Measured steps up to the shorter trial's last one that a longer one has too; None if some would be missing.

    Args:
        shorter: canonical settings of a trial that was trained to its last step.
        longer: of one with the same beginning and more steps.
    """
    return _copied(_timing(shorter), _timing(longer))


def _timing(settings: Mapping[str, Any]) -> str:
    """What measured steps follow from, as text."""
    when = {name: value for name, value in settings["measure"].items() if name in WHEN}
    training = settings["training"]
    return canonical.compact({"measure": when, "steps": training["steps"], "stops": "stop" in training})


@lru_cache(maxsize=1024)
def _copied(shorter: str, longer: str) -> list[int] | None:
    short, long = json.loads(shorter), json.loads(longer)
    last = short["steps"]
    there = measured_steps({"measure": short["measure"], "training": short})
    asked = [step for step in measured_steps({"measure": long["measure"], "training": long}) if step <= last]
    if not set(there).issuperset(asked):
        return None
    # a trial that may stop is judged wherever it is measured
    if short["stops"] and asked != there:
        return None
    kept = {step for step in long["measure"].get("weights", ()) if step <= last}
    return asked if kept.issubset(short["measure"].get("weights", ())) else None
