"""What must be true of a sweep after any faults, judged from the client's history and the final REST state alone."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from service.grid.expansion import Expansion
from service.grid.measured_steps import measured_steps
from service.schemas.trials import TrialDetail

ENDED_BY_ANOTHER = "ended by a dispatcher that no longer held it"
"""What happens once the guard on attempt numbers is taken away."""
ENDS = frozenset({"completed", "diverged", "failed", "cancelled"})


@dataclass
class History:
    """What the service has acknowledged to a client."""

    submitted: dict[str, Expansion] = field(default_factory=dict)
    """Experiment -> its grid."""
    cancelled: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Final:
    """What the service says of an experiment in the end."""

    trials: Sequence[TrialDetail]
    layers: pl.DataFrame
    """trial_id, step, layer, alignment: every layer row of the sweep."""


def violations(history: History, final: Mapping[str, Final], wanted: Mapping[str, Mapping[int, float]]) -> list[str]:
    """Everything that contradicts "each trial ends once, with every measured step once"; empty when all is well.

    Args:
        history: acknowledged submissions and cancels.
        final: state of every experiment that still answers.
        wanted: fingerprint -> step -> alignment of the first layer in an undisturbed run; others are not compared.
    """
    found = [f"{name} was acknowledged and is gone" for name in history.submitted if name not in final]
    for name, state in final.items():
        grid = history.submitted[name]
        if len(state.trials) != len(grid):
            found.append(f"{name} has {len(state.trials)} trials of {len(grid)}")
        rows = {key[0]: part for key, part in state.layers.partition_by("trial_id", as_dict=True).items()}
        for trial in state.trials:
            found += [f"{name} {trial.id}: {text}" for text in _of_attempts(trial)]
            if trial.state != "completed":
                if name not in history.cancelled or trial.state != "cancelled":
                    found.append(f"{name} {trial.id}: ended {trial.state}: {trial.error}")
                continue
            part = rows.get(trial.id)
            values = {} if part is None else dict(zip(part["step"].to_list(), part["alignment"].to_list(), strict=True))
            found += [f"{name} {trial.id}: {text}" for text in _of_rows(trial, part, values, wanted)]
    return found


def _of_attempts(trial: TrialDetail) -> list[str]:
    """Attempts are numbered without a gap, follow each other, are all closed, and the last alone is an end."""
    attempts, found = trial.attempts, []
    if [one.number for one in attempts] != list(range(1, trial.attempt + 1)):
        found.append(f"attempts {[one.number for one in attempts]} of {trial.attempt}")
    if trial.state not in ENDS:
        found.append(f"still {trial.state}")
    ends = [one.number for one in attempts if one.outcome in ENDS]
    if trial.state == "completed" and ends != [trial.attempt]:
        found.append(f"ended in attempts {ends} of {trial.attempt}")
    if trial.state == "completed" and (trial.provenance or {})["dispatcher"] != attempts[-1].dispatcher:
        found.append(ENDED_BY_ANOTHER)
    if any(one.ended_at is None for one in attempts):
        found.append("an attempt is not closed")
    pairs = itertools.pairwise(attempts)
    if any(before.ended_at and before.ended_at > after.started_at for before, after in pairs):
        found.append("an attempt began before the one before it had ended")
    return found


def _of_rows(
    trial: TrialDetail,
    part: pl.DataFrame | None,
    values: Mapping[int, float],
    wanted: Mapping[str, Mapping[int, float]],
) -> list[str]:
    """Every measured step once, with the values of an undisturbed run."""
    steps = measured_steps(trial.settings)
    layers = len(trial.settings["measure"]["layers"])
    count = 0 if part is None else len(part)
    if set(values) != set(steps) or count != len(steps) * layers:
        return [f"{count} rows of {len(steps) * layers}, steps missing: {sorted(set(steps) - set(values))[:5]}"]
    known = wanted.get(trial.fingerprint)
    if known and not np.allclose([values[s] for s in steps], [known[s] for s in steps], rtol=0, atol=1e-12):
        return ["values differ from an undisturbed run's"]
    return []
