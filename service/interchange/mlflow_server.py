"""Runs to an MLflow tracking address, through MLflow's own client, which is imported only here."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

from service.interchange.mlflow_files import STATUS
from service.interchange.runs import Run, Sweep, plain

_METRICS_AT_ONCE, _PARAMETERS_AT_ONCE = 1_000, 100
_LONGEST_PARAMETER: Final = 6_000
T = TypeVar("T")


class NoMlflow(RuntimeError):
    """MLflow's client is not installed; the message says what to do."""


def send(sweep: Sweep, runs: Iterable[Run], uri: str) -> int:
    """Add an experiment and its runs; answers how many there are.

    Raises:
        NoMlflow: its client is not installed.
        FileExistsError: an experiment of this name is there.
    """
    try:
        from mlflow import MlflowClient  # noqa: PLC0415
        from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415
    except ImportError as error:
        raise NoMlflow(
            f"{uri} is an MLflow address, which takes its client: pip install mlflow-skinny; a folder needs nothing"
        ) from error
    client = MlflowClient(tracking_uri=uri)
    name = f"{sweep.experiment.id} {sweep.experiment.name}"
    if client.get_experiment_by_name(name) is not None:
        raise FileExistsError(f"{uri} has an experiment {name!r} already: rename it there, or name another address")
    experiment = client.create_experiment(name, tags=sweep.tags)
    count = 0
    for count, run in enumerate(runs, 1):  # noqa: B007
        trial = run.trial
        began = _milliseconds(trial.started_at or trial.created_at)
        key = client.create_run(experiment, start_time=began, tags=run.tags, run_name=trial.id).info.run_id
        parameters = [Param(plain(one), value[:_LONGEST_PARAMETER]) for one, value in run.parameters.items()]
        for some in _in_parts(parameters, _PARAMETERS_AT_ONCE):
            client.log_batch(key, params=some)
        metrics = [Metric(one, value, began, step) for one, points in run.series.items() for step, value in points]
        for some in _in_parts(metrics, _METRICS_AT_ONCE):
            client.log_batch(key, metrics=some)
        client.log_batch(key, tags=[RunTag("mlflow.source.name", "nfa")])
        ended = None if trial.ended_at is None else _milliseconds(trial.ended_at)
        client.set_terminated(key, STATUS[trial.state], ended)
    return count


def _in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
