"""An experiment as runs: settings, tags, and a series per metric and layer. Read from a service, a piece at a time."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq

from nfa_kernels import names
from service.client import Client
from service.questions.number_format import number
from service.schemas.experiments import ExperimentDetail
from service.schemas.results import VerdictBody
from service.schemas.trials import TrialBody

Points = Sequence[tuple[int, float]]
"""(step, value), by step; where a metric is undefined there is no point."""
_OTHERWISE: Final = re.compile(r"[^\w\-. ]", re.ASCII)
_LONGEST_NAME: Final = 200
_OF_A_TRIAL: Final = ("torch", "device", "dtype", "kernels", "streams", "ended", "kept_every")


@dataclass(frozen=True)
class Run:
    """A trial."""

    trial: TrialBody
    series: Mapping[str, Points]
    """By names such as train_loss, alignment/layer_1, and where layers have names alignment/layer_1_conv1."""

    @property
    def parameters(self) -> dict[str, str]:
        """Every setting by its path, and the seed."""
        return {"seed": str(self.trial.seed)} | dict(_flat("", self.trial.settings))

    @property
    def tags(self) -> dict[str, str]:
        """What is known of it beside its settings."""
        known = self.trial.provenance or {}
        found = {"trial": self.trial.id, "state": self.trial.state.value, "fingerprint": self.trial.fingerprint}
        found |= {name: str(known[name]) for name in _OF_A_TRIAL if known.get(name) is not None}
        return {f"nfa.{name}": value for name, value in found.items()}


@dataclass(frozen=True)
class Sweep:
    """An experiment and what was claimed about it."""

    experiment: ExperimentDetail
    verdicts: Sequence[VerdictBody]

    @property
    def tags(self) -> dict[str, str]:
        """Where it is from, and a tag for each claim."""
        one = self.experiment
        words = {True: "holds", False: "does not hold", None: "open"}
        found = {"nfa.experiment": one.id, "nfa.owner": one.owner, "nfa.notes": one.notes}
        for verdict in self.verdicts:
            decides = f"{number(verdict.worst)} against {verdict.threshold} over {verdict.trials} trials"
            found[f"nfa.verdict.{plain(verdict.id)}"] = f"{words[verdict.holds]}: {decides}"
        return {name: value for name, value in found.items() if value}


def plain(name: str) -> str:
    """A name of one part that MLflow and file systems take; `alignment@0.25` becomes `alignment_at_0.25`."""
    return _OTHERWISE.sub("_", name.replace("@", "_at_")).lstrip(".")[:_LONGEST_NAME] or "_"


def read_sweep(client: Client, experiment: str) -> Sweep:
    """An experiment with its verdicts."""
    return Sweep(client.experiment(experiment), client.verdicts(experiment))


def read_runs(client: Client, experiment: str) -> Iterator[Run]:
    """Its trials, each with what was measured; those without measurements come last."""
    trials = {one.id: one for one in client.trials(experiment)}
    with tempfile.TemporaryDirectory(prefix="nfa-export-") as folder:
        file = Path(folder) / "sweep.parquet"
        client.export(experiment, file)
        table = pq.ParquetFile(file)
        for place in range(table.metadata.num_row_groups):
            # a row group holds whole trials
            frame: Any = pl.from_arrow(table.read_row_group(place))
            for key, rows in frame.partition_by("trial_id", as_dict=True, maintain_order=True).items():
                if (trial := trials.pop(str(key[0]), None)) is not None:
                    yield Run(trial, series_of(rows))
    for trial in trials.values():
        yield Run(trial, {})


def series_of(rows: pl.DataFrame) -> dict[str, Points]:
    """The series of one trial's rows; metrics whose values are words are left out."""
    steps = rows.unique("step", keep="first", maintain_order=True)
    layers = rows.filter(pl.col("layer").is_not_null()).partition_by("layer", as_dict=True, maintain_order=True)
    found: dict[str, Points] = {}
    for name in rows.columns:
        if rows.schema[name] != pl.Float64 or not _is_metric(name):
            continue
        if name in names.NETWORK_METRICS:
            found[plain(name)] = _points(steps, name)
        else:
            found |= {f"{plain(name)}/layer_{_called(own)}": _points(own, name) for own in layers.values()}
    return {name: points for name, points in found.items() if points}


def _called(rows: pl.DataFrame) -> str:
    """Number and, where it has one, name of the layer that rows are about."""
    known = [rows[column][0] for column in ("layer", "layer_name") if column in rows.columns]
    return "_".join(plain(str(one)) for one in known if one is not None)


def _is_metric(name: str) -> bool:
    return names.definition_of(name) is not None


def _points(rows: pl.DataFrame, name: str) -> Points:
    return list(rows.select("step", name).drop_nulls().iter_rows())


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Settings by path; lists are one value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}" if path else str(key), inner)
    else:
        yield path, str(value)
