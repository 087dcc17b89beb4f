"""Has drawn trials of a bundle trained again, and holds their numbers against the bundle's."""

import random
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from nfa_kernels import names
from service.bundles import layout
from service.bundles.importing import Read
from service.bundles.opening import Opened
from service.bundles.retraining import Retraining
from service.bundles.tables import asked_of, coded, groups, is_metric
from service.bundles.uploads import read_arrays_again
from service.errors import InvalidBundle
from service.grid.measured_steps import measured_steps
from service.store.datasets import dataset_ids
from service.store.measured_models import NETWORK_LAYER


@dataclass(frozen=True)
class Rerun:
    """A trial that was trained again."""

    trial: str
    experiment: str
    values: int
    """Numbers that were compared."""
    same_bits: bool
    largest: float
    """Difference, by the measure of checks.TOLERANCE; infinite where one is undefined, or a row is missing."""
    where: str
    """The metric, layer and step of the largest difference; empty where there is none."""

    def holds(self, tolerance: float) -> bool:
        """Whether it is what the bundle says."""
        return self.largest <= tolerance


def drawn(read: Sequence[Read], count: int, chance: random.Random) -> list[tuple[Read, Any]]:
    """So many trials with results, each once, at random."""
    seen: set[str] = set()
    found = []
    for one in read:
        for trial in one.trials:
            if trial.has_finals and trial.fingerprint not in seen:
                seen.add(trial.fingerprint)
                found.append((one, trial))
    return chance.sample(found, min(count, len(found)))


def rerun(bundle: Opened, chosen: Sequence[tuple[Read, Any]], process: Retraining) -> list[Rerun]:
    """Have them trained again.

    Raises:
        InvalidBundle: the process that trains failed; its last words are told.
    """
    with tempfile.TemporaryDirectory(prefix="nfa-rerun-") as name:
        folder = Path(name)
        table, ends = _trained(bundle, chosen, process, folder)
    tables = _told(bundle, chosen)
    done = []
    for one, trial in chosen:
        told = _of_training(tables[one.source, trial.trial_id], one.points[trial.fingerprint][0].settings)
        key = f"{one.source}/{trial.trial_id}"
        end = ends[key]
        if end["state"] != trial.state or end["step"] != trial.last_step:
            where = f"{end['state']} at step {end['step']}, not {trial.state.value} at step {trial.last_step}"
            done.append(Rerun(trial.trial_id, one.source, told.height, False, float("inf"), where))
        else:
            done.append(_compared(trial.trial_id, one.source, told, table.filter(pl.col("trial") == key)))
    return done


def _trained(
    bundle: Opened, chosen: Sequence[tuple[Read, Any]], process: Retraining, folder: Path
) -> tuple[pl.DataFrame, Mapping[str, Any]]:
    """Every row of the chosen trials, and how they ended."""
    stacks: dict[str, list[dict[str, Any]]] = defaultdict(list)
    uploads: set[str] = set()
    for one, trial in chosen:
        point, seed = one.points[trial.fingerprint]
        uploads |= dataset_ids([point.settings])
        member = {"trial": f"{one.source}/{trial.trial_id}", "settings": point.settings, "seed": seed}
        stacks[point.stack_key].append(member)
    datasets = {sha256: str(read_arrays_again(bundle, sha256, folder)) for sha256 in sorted(uploads)}
    answer = folder / "answer.arrow"
    ends = process.train(list(stacks.values()), datasets, answer)
    table = pl.read_ipc(answer.read_bytes())
    return table.with_columns(pl.col("value").fill_nan(None)), ends


def _told(bundle: Opened, chosen: Sequence[tuple[Read, Any]]) -> dict[tuple[str, str], pl.DataFrame]:
    """What the bundle says was measured, by experiment and trial: step, layer, name, value."""
    found: dict[tuple[str, str], pl.DataFrame] = {}
    for one in {one.source: one for one, _ in chosen}.values():
        wanted = [trial.trial_id for own, trial in chosen if own.source == one.source]
        name = f"{one.source}/{layout.MEASUREMENTS}"
        for frame in groups(bundle.path(name), name, one.rows_at_most()):
            for trial in set(frame["trial_id"].unique().to_list()) & set(wanted):
                found[one.source, trial] = _long(frame.filter(pl.col("trial_id") == trial))
        if missing := [trial for trial in wanted if (one.source, trial) not in found]:
            raise InvalidBundle(f"{name} has no rows of {missing[0]}")
    return found


def _long(rows: pl.DataFrame) -> pl.DataFrame:
    rows = coded(rows)
    parts = []
    for name in rows.columns:
        if not is_metric(name):
            continue
        of_network = name in names.NETWORK_METRICS
        source = rows.unique(["step"], keep="first") if of_network else rows.filter(pl.col("layer").is_not_null())
        layer = pl.lit(NETWORK_LAYER, pl.Int16) if of_network else pl.col("layer")
        parts.append(
            source.select("step", layer.alias("layer"), pl.lit(name).alias("name"), pl.col(name).alias("value"))
        )
    return pl.concat(parts)


def _of_training(told: pl.DataFrame, settings: Mapping[str, Any]) -> pl.DataFrame:
    """What training measures, without what was measured again on kept weights: other metrics, layers and steps."""
    measure = settings["measure"]
    own = pl.col("name").is_in(sorted(asked_of(measure))) & pl.col("layer").is_in([NETWORK_LAYER, *measure["layers"]])
    steps = measured_steps(settings) if "steps" in settings["training"] else None
    further = [step for step in measure.get("weights", ()) if steps is not None and step not in steps]
    # one that ended early is measured where it ended
    is_last = pl.col("step") == pl.col("step").max()
    return told.filter(own & (~pl.col("step").is_in(further) | is_last))


def _compared(trial: str, experiment: str, told: pl.DataFrame, found: pl.DataFrame) -> Rerun:
    """Every number that the bundle tells beside the new one; what it does not tell, as thinned steps, is not held."""
    again = found.rename({"value": "again"})
    joined = told.filter(pl.col("value").is_not_null()).join(again, on=["step", "layer", "name"], how="left")
    size = pl.max_horizontal(pl.col("value").abs(), pl.lit(1.0))
    apart = ((pl.col("value") - pl.col("again")).abs() / size).fill_null(float("inf"))
    joined = joined.with_columns(apart=apart)
    same = bool((joined["value"] == joined["again"]).fill_null(False).all())
    if joined.is_empty():
        return Rerun(trial, experiment, 0, same, 0.0, "")
    worst = joined.row(int(joined["apart"].arg_max() or 0), named=True)
    where = "" if same else f"{worst['name']} of layer {worst['layer']} at step {worst['step']}"
    return Rerun(trial, experiment, joined.height, same, float(worst["apart"]), where)
