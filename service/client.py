"""A typed client of the REST API, for scripts, notebooks and the command line.

from service.client import Client

with Client("http://127.0.0.1:8000") as client:
    experiment = client.submit_preset("weight-decay")
    client.wait(experiment["id"])
    print(client.results(experiment["id"], agg="mean,min,count"))
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import polars as pl

ENDED = frozenset({"completed", "failed", "cancelled"})
_TRIES = 5


class ClientError(Exception):
    """The service refused a request: `problem` is its problem document."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = dict(problem)
        self.status = int(problem.get("status", 0))
        self.code = str(problem.get("code", "unknown"))
        super().__init__(str(problem.get("detail", "the service answered without a reason")))


class Unreachable(Exception):
    """No service answers at the address."""


class Client:
    """Calls one service. Requests that may safely be repeated are, with growing pauses, while the service is away."""

    def __init__(self, url: str = "http://127.0.0.1:8000", token: str | None = None, timeout: float = 60.0) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # -- experiments ------------------------------------------------------------------------------------------------

    def submit(self, grid: str | Path | Mapping[str, Any]) -> dict[str, Any]:
        """Submit a grid: a mapping, or a YAML or JSON file. Safe to repeat: one call makes one experiment."""
        return self._send_grid("/experiments", grid, {"Idempotency-Key": uuid.uuid4().hex})

    def submit_preset(self, name: str) -> dict[str, Any]:
        """Submit a grid that ships with the service."""
        return self.submit(self.preset(name)["grid"])

    def preview(self, grid: str | Path | Mapping[str, Any]) -> dict[str, Any]:
        """Count trials, stacks and seconds of a grid; nothing is stored."""
        return self._send_grid("/experiments/preview", grid, {})

    def experiment(self, experiment_id: str) -> dict[str, Any]:
        """An experiment with its grid, counts and progress."""
        return self._get(f"/experiments/{experiment_id}")

    def experiments(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Experiments, newest first; `state`, `tag` and `q` filter."""
        return self._pages("/experiments", filters)

    def cancel(self, experiment_id: str) -> dict[str, Any]:
        """Stop an experiment's unfinished trials."""
        return self._call("POST", f"/experiments/{experiment_id}/cancel")

    def wait(
        self,
        experiment_id: str,
        *,
        progress: Callable[[dict[str, Any]], None] | None = None,
        poll_seconds: float = 0.5,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Wait until every trial has ended; `progress` is called with the experiment after each look.

        Raises:
            TimeoutError: it had not ended after `timeout` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            experiment = self.experiment(experiment_id)
            if progress is not None:
                progress(experiment)
            if experiment["state"] in ENDED:
                return experiment
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"{experiment_id} is {experiment['state']} after {timeout} s")
            time.sleep(poll_seconds)

    # -- answers ----------------------------------------------------------------------------------------------------

    def results(self, experiment_id: str, **question: Any) -> pl.DataFrame:
        """The group-by table; `group_by`, `metric`, `layer`, `reduce`, `agg` and `where` as in the REST API."""
        return pl.DataFrame(
            self._get(f"/experiments/{experiment_id}/results", question)["items"], infer_schema_length=None
        )

    def curves(self, experiment_id: str, **question: Any) -> pl.DataFrame:
        """Seed-averaged series, one row per group and step."""
        items = self._get(f"/experiments/{experiment_id}/curves", question)["items"]
        frame = pl.DataFrame(items, infer_schema_length=None)
        return frame.explode([name for name, kind in frame.schema.items() if isinstance(kind, pl.List)])

    def verdicts(self, experiment_id: str) -> list[dict[str, Any]]:
        """The experiment's claims, judged."""
        return self._get(f"/experiments/{experiment_id}/verdicts")["items"]

    def trials(self, experiment_id: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """Trials; `state`, `where` and `sort` as in the REST API."""
        return self._pages(f"/experiments/{experiment_id}/trials", filters)

    def trial(self, trial_id: str) -> dict[str, Any]:
        """One trial."""
        return self._get(f"/trials/{trial_id}")

    def measurements(self, trial_id: str, **question: Any) -> pl.DataFrame:
        """One trial's measurements; `metrics`, `layer` and `max_points` as in the REST API."""
        return pl.DataFrame(self._get(f"/trials/{trial_id}/measurements", question))

    # -- the rest ---------------------------------------------------------------------------------------------------

    def presets(self) -> list[dict[str, Any]]:
        """Grids that ship with the service."""
        return self._get("/presets")["items"]

    def preset(self, name: str) -> dict[str, Any]:
        """One preset with its grid."""
        return self._get(f"/presets/{name}")

    def metric_definitions(self) -> list[dict[str, Any]]:
        """What each metric is."""
        return self._get("/metric-definitions")["items"]

    def cluster(self) -> dict[str, Any]:
        """Dispatchers, and how many trials wait and run."""
        return self._get("/cluster")

    def upload(self, file: str | Path, name: str | None = None) -> dict[str, Any]:
        """Upload a .npz, .csv or .parquet file of arrays."""
        path = Path(file)
        media = {".npz": "application/x-npz", ".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
        if path.suffix not in media:
            raise ValueError(f"{path}: allowed are files ending in {', '.join(media)}")
        return self._call(
            "POST",
            "/datasets",
            params={"name": name or path.name},
            content=path.read_bytes(),
            headers={"Content-Type": media[path.suffix]},
        )

    def _send_grid(self, path: str, grid: str | Path | Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        if isinstance(grid, Mapping):
            return self._call("POST", path, json=dict(grid), headers=headers)
        file = Path(grid)
        kind = "application/json" if file.suffix == ".json" else "application/yaml"
        return self._call("POST", path, content=file.read_bytes(), headers={"Content-Type": kind, **headers})

    def _pages(self, path: str, question: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        cursor = None
        while True:
            page = self._get(path, {**question, "cursor": cursor})
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _get(self, path: str, question: Mapping[str, Any] | None = None) -> Any:
        given = {name: value for name, value in (question or {}).items() if value is not None}
        return self._call("GET", path, params=given)

    def _call(self, method: str, path: str, **request: Any) -> Any:
        """One request; repeated when the connection fails or the store is away, which is safe for all of ours."""
        for attempt in range(_TRIES):
            is_last = attempt == _TRIES - 1
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                if is_last or isinstance(error, httpx.ConnectError):
                    raise Unreachable(
                        f"no service answers at {self.url} ({error}): start one with `nfa up`, or name another with "
                        "--url or NFA_URL"
                    ) from error
            else:
                if answer.status_code != 503 or is_last:
                    return _checked(answer)
            time.sleep(0.2 * 2**attempt)
        raise AssertionError("the last try returns or raises")


def _checked(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json()
    try:
        problem = answer.json()
    except ValueError:
        problem = {"status": answer.status_code, "detail": f"HTTP {answer.status_code} without a problem document"}
    raise ClientError(problem)
