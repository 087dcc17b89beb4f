"""A folder as MLflow's file store keeps it: a run per trial. MLflow itself is not needed.

Source: mlflow/store/tracking/file_store.py of MLflow 3; its readers want MLFLOW_ALLOW_FILE_STORE=true, and
`mlflow migrate-filestore` turns the folder into a database.
"""

import hashlib
import shutil
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml

from service.interchange.runs import Run, Sweep, plain
from service.states import TrialState

STATUS: Final = {
    TrialState.COMPLETED: "FINISHED",
    TrialState.DIVERGED: "FINISHED",
    TrialState.FAILED: "FAILED",
    TrialState.CANCELLED: "KILLED",
    TrialState.RUNNING: "RUNNING",
    TrialState.QUEUED: "SCHEDULED",
}
_CODES: Final = {"RUNNING": 1, "SCHEDULED": 2, "FINISHED": 3, "FAILED": 4, "KILLED": 5}
_LOCAL_SOURCE: Final = 4
_LONGEST_PARAMETER: Final = 6_000
"""As long as MLflow takes them; longer lists are cut."""


def write(sweep: Sweep, runs: Iterable[Run], folder: Path) -> int:
    """Write an experiment into a folder, which may hold others; it is there once it is whole. Answers its runs.

    Raises:
        FileExistsError: the folder holds it already.
    """
    one = sweep.experiment
    # the same experiment of the same service has the same number
    number = str(int(hashlib.sha256(f"{one.id} {one.created_at}".encode()).hexdigest()[:14], 16))
    target, part = folder / number, folder / f".{number}.part"
    if target.exists():
        raise FileExistsError(f"{folder} holds experiment {one.id} already, in {number}: name another folder")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    _yaml(
        part,
        {
            "artifact_location": target.absolute().as_uri(),
            "creation_time": _milliseconds(one.created_at),
            "experiment_id": number,
            "last_update_time": _milliseconds(one.created_at),
            "lifecycle_stage": "active",
            "name": f"{one.id} {one.name}",
        },
    )
    _files(part / "tags", sweep.tags)
    count = 0
    for count, run in enumerate(runs, 1):  # noqa: B007
        _run(run, part, target, number)
    part.replace(target)
    return count


def _run(run: Run, part: Path, target: Path, experiment: str) -> None:
    trial = run.trial
    key = uuid.uuid5(uuid.NAMESPACE_OID, f"{experiment} {trial.fingerprint}").hex
    folder = part / key
    (folder / "artifacts").mkdir(parents=True)
    began = _milliseconds(trial.started_at or trial.created_at)
    _yaml(
        folder,
        {
            "artifact_uri": f"{target.absolute().as_uri()}/{key}/artifacts",
            "end_time": None if trial.ended_at is None else _milliseconds(trial.ended_at),
            "entry_point_name": "",
            "experiment_id": experiment,
            "lifecycle_stage": "active",
            "run_id": key,
            "run_name": trial.id,
            "run_uuid": key,
            "source_name": "nfa",
            "source_type": _LOCAL_SOURCE,
            "source_version": "",
            "start_time": began,
            "status": _CODES[STATUS[trial.state]],
            "tags": [],
            "user_id": "nfa",
        },
    )
    _files(folder / "params", {name: value[:_LONGEST_PARAMETER] for name, value in run.parameters.items()})
    _files(folder / "tags", run.tags | {"mlflow.runName": trial.id})
    for name, points in run.series.items():
        file = folder / "metrics" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{began} {value!r} {step}\n" for step, value in points))


def _files(folder: Path, values: Mapping[str, str]) -> None:
    """A file per value, named for it."""
    folder.mkdir(parents=True)
    for name, value in values.items():
        (folder / plain(name)).write_text(value)


def _yaml(folder: Path, content: Mapping[str, Any]) -> None:
    (folder / "meta.yaml").write_text(yaml.safe_dump(dict(content)))


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
