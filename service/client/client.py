"""The typed client of the REST API, for scripts, notebooks and the command line.

from service.client import Client

with Client() as client:
    submitted = client.submit_preset("weight-decay")
    client.wait(submitted.id)
    print(client.results(submitted.id, agg=["mean", "min"]))
"""

import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

import polars as pl

from service.client.calls import joined
from service.client.cluster_calls import ClusterCalls
from service.client.datasets import DatasetCalls
from service.client.grids import Grid, Seeds, body_of
from service.client.measuring_calls import MeasuringCalls
from service.client.transport import DEFAULT_URL, Transport
from service.client.trial_calls import TrialCalls
from service.client.view_calls import ViewCalls
from service.client.waiting_calls import WaitingCalls
from service.questions.tables import long_table, table
from service.schemas.catalogue import MetricDefinition, PresetBody, PresetDetail
from service.schemas.experiments import ExperimentDetail, Extended, Preview, Submitted, Thinned
from service.schemas.fits import Fits, RoundBody
from service.schemas.results import DifferenceBody, PoolingBody, VerdictBody
from service.schemas.trials import TrialBody

_UNPACKED: Final = {"Accept-Encoding": "identity"}
"""On one machine packing costs more than it saves."""
EXPORT_FORMATS: Final = ("parquet", "csv", "ndjson", "arrow")


def transport_to(url: str | None, token: str | None, timeout_seconds: float, retries: int, **more: Any) -> Transport:
    """What leads to a service, by the environment where nothing is given. Raises as Transport does."""
    url, token = url or os.environ.get("NFA_URL", DEFAULT_URL), token or os.environ.get("NFA_TOKEN")
    return Transport(url, token, timeout_seconds, retries, **more)


class Client(ClusterCalls, DatasetCalls, MeasuringCalls, TrialCalls, ViewCalls, WaitingCalls):
    """A service and what can be asked of it.

    Args:
        url: where the service is; default: NFA_URL, or this machine.
        token: sent as a bearer token; default: NFA_TOKEN.
        timeout_seconds: how long one answer may take.
        retries: how often a call is repeated when the service does not answer or is not ready.
        is_direct: never through a proxy. By default this machine's own addresses are reached directly, others as
            HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say.

    Every method raises ClientError with the problem document, and Unreachable where nobody answered.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        retries: int = 4,
        is_direct: bool = False,
    ) -> None:
        super().__init__(transport_to(url, token, timeout_seconds, retries, is_direct=is_direct))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._transport.url

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def submit(self, grid: Grid, *, idempotency_key: str | None = None) -> Submitted:
        """Store a grid as an experiment and queue what is new in it; repeats with the same key answer the first."""
        body, media = body_of(grid)
        headers = {"Content-Type": media, "Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return Submitted.model_validate(self._call("POST", "/experiments", content=body, headers=headers))

    def submit_preset(self, name: str) -> Submitted:
        """Submit a grid that ships with the service."""
        return self.submit(self.preset(name).grid)

    def preview(self, grid: Grid) -> Preview:
        """What a grid would cost; nothing is stored."""
        body, media = body_of(grid)
        found = self._call("POST", "/experiments/preview", content=body, headers={"Content-Type": media})
        return Preview.model_validate(found)

    def trials(
        self, experiment: str, *, state: str | None = None, where: str | None = None, sort: str | None = None
    ) -> Iterator[TrialBody]:
        """Trials of an experiment; pages are fetched as they are needed."""
        for item in self._pages(f"/experiments/{experiment}/trials", {"state": state, "where": where, "sort": sort}):
            yield TrialBody.model_validate(item)

    def results(
        self,
        experiment: str,
        *,
        group_by: Sequence[str] | None = None,
        metric: Sequence[str] = ("alignment",),
        layer: int | str = 1,
        reduce: str = "final",
        agg: Sequence[str] = ("mean", "std", "count"),
        where: str | None = None,
        also: Sequence[str] | None = None,
        inputs: str = "train",
    ) -> pl.DataFrame:
        """Group-by table: a row per group with its keys, trials, incomplete, and METRIC_AGG; default: by the axes.

        Further experiments under `also` are compared: their groups are told apart by a first column `experiment`.
        """
        params = {
            "group_by": joined(group_by),
            "metric": joined(metric),
            "layer": layer,
            "inputs": inputs,
            "reduce": reduce,
            "agg": joined(agg),
            "where": where,
            "also": joined(also),
        }
        return table(list(self._pages(f"/experiments/{experiment}/results", params)))

    def curves(
        self,
        experiment: str,
        metric: str = "alignment",
        *,
        group_by: Sequence[str] | None = None,
        layer: int | str = 1,
        agg: Sequence[str] = ("median", "min", "max", "count"),
        where: str | None = None,
        max_points: int | None = None,
        running: bool = False,
        also: Sequence[str] | None = None,
        inputs: str = "train",
    ) -> pl.DataFrame:
        """Series over the trials of each group: a row per group and step with its keys, time, and METRIC_AGG.

        With `running`, trials that still run enter with what they have measured so far; `also` as for results.
        """
        params = {
            "metric": metric,
            "group_by": joined(group_by),
            "layer": layer,
            "inputs": inputs,
            "agg": joined(agg),
            "where": where,
            "max_points": max_points,
            "running": running,
            "also": joined(also),
        }
        return long_table(list(self._pages(f"/experiments/{experiment}/curves", params)))

    def pooling(
        self,
        experiment: str,
        *,
        group_by: Sequence[str] | None = None,
        where: str | None = None,
        running: bool = False,
    ) -> PoolingBody:
        """Whether groups are seeds of one setting or mix settings; `says` has it in words; default: by the axes."""
        params = {"group_by": joined(group_by), "where": where, "running": running}
        found = self._call("GET", f"/experiments/{experiment}/pooling", params=params)
        return PoolingBody.model_validate(found)

    def phase(
        self,
        experiment: str,
        *,
        x: str,
        y: str,
        metric: str = "alignment",
        layer: int | str = 1,
        reduce: str = "final",
        agg: str = "mean",
        where: str | None = None,
        also: Sequence[str] | None = None,
        inputs: str = "train",
    ) -> dict[str, Any]:
        """A metric over two settings: x_values, y_values, and `values` and `counts` with one row per y.

        Further experiments have theirs under `also`, on the same axes.
        """
        params = {"x": x, "y": y, "metric": metric, "layer": layer, "reduce": reduce, "agg": agg, "where": where}
        params["inputs"] = inputs
        params["also"] = joined(also)
        return self._call("GET", f"/experiments/{experiment}/phase", params=params)

    def export(self, experiment: str, path: Path | str, *, level: Literal["layer", "network"] = "layer") -> int:
        """Stream every measurement of an experiment to a file, which is there once it is whole; answers its bytes.

        The format follows from the name: .parquet, .csv, .ndjson or .arrow.
        """
        path = Path(path)
        form = path.suffix.lower().removeprefix(".")
        if form not in EXPORT_FORMATS:
            raise ValueError(f"{path.name}: an export is a file ending in .{', .'.join(EXPORT_FORMATS)}")
        return self._transport.download(
            f"/api/v1/experiments/{experiment}/measurements",
            path,
            params={"format": form, "level": level},
            headers=_UNPACKED,
        )

    def bundle(
        self,
        experiment: str,
        path: Path | str,
        *,
        also: Sequence[str] = (),
        title: str = "",
        authors: Sequence[str] = (),
        license: str = "",
        weights: bool = False,
        figures: bool = True,
    ) -> int:
        """Stream experiments that have ended, as a study to cite, to a .zip, there once it is whole; answers its bytes.

        Args:
            experiment: the first one.
            path: the file.
            also: further experiments.
            title: of the study; default: the experiment's name.
            authors: whom to cite; default: the experiments' owners.
            license: an SPDX identifier or an address.
            weights: with the weights that trials have kept.
            figures: with every figure that can be drawn.
        """
        words = {"also": joined(also), "title": title, "license": license, "author": list(authors)}
        params = {name: value for name, value in words.items() if value} | {"weights": weights, "figures": figures}
        address = f"/api/v1/experiments/{experiment}/bundle"
        return self._transport.download(address, Path(path), params=params, headers=_UNPACKED)

    def sweep(self, experiment: str, *, level: Literal["layer", "network"] = "layer") -> pl.DataFrame:
        """Every measurement of an experiment as one table; `.to_pandas()` and `.to_arrow()` change its kind.

        A row per trial, step and layer (level network: per trial and step) with trial_id, seed, a column per axis,
        step, time, layer and the metrics; undefined is null. It comes as Parquet and needs memory for the whole.
        """
        with tempfile.TemporaryDirectory(prefix="nfa-sweep-") as folder:
            file = Path(folder) / "sweep.parquet"
            self.export(experiment, file, level=level)
            return pl.read_parquet(file.read_bytes())

    def differences(self, experiment: str, also: Sequence[str]) -> list[DifferenceBody]:
        """The settings whose values are not the same in all of these experiments, as their trials have them."""
        found = self._call("GET", f"/experiments/{experiment}/differences", params={"also": joined(also)})
        return [DifferenceBody.model_validate(item) for item in found["items"]]

    def verdicts(self, experiment: str) -> list[VerdictBody]:
        """Each claim of the experiment, judged."""
        found = self._call("GET", f"/experiments/{experiment}/verdicts")
        return [VerdictBody.model_validate(item) for item in found["items"]]

    def fits(self, experiment: str) -> Fits:
        """What was found so far: boundaries with brackets, intervals of seeds, slopes and rates of claims."""
        return Fits.model_validate(self._call("GET", f"/experiments/{experiment}/fits"))

    def rounds(self, experiment: str) -> list[RoundBody]:
        """What searches added to the grid, the first round first."""
        found = self._call("GET", f"/experiments/{experiment}/rounds")
        return [RoundBody.model_validate(item) for item in found["items"]]

    def add_claims(self, experiment: str, claims: Sequence[Mapping[str, Any]]) -> list[VerdictBody]:
        """Add statements, as under a grid's `claims`, also when everything has ended; answers all verdicts."""
        found = self._send("POST", f"/experiments/{experiment}/claims", {"claims": [dict(claim) for claim in claims]})
        return [VerdictBody.model_validate(item) for item in found["items"]]

    def cancel(self, experiment: str) -> ExperimentDetail:
        """Stop its unfinished trials, unless another experiment wants them; what was measured is kept."""
        return ExperimentDetail.model_validate(self._call("POST", f"/experiments/{experiment}/cancel"))

    def pause(self, experiment: str) -> ExperimentDetail:
        """Start no more of its trials; those that run for it alone go back to the queue."""
        return ExperimentDetail.model_validate(self._call("POST", f"/experiments/{experiment}/pause"))

    def resume(self, experiment: str) -> ExperimentDetail:
        """Go on after a pause."""
        return ExperimentDetail.model_validate(self._call("POST", f"/experiments/{experiment}/resume"))

    def retry(self, experiment: str, which: Literal["failed", "diverged", "cancelled"] = "failed") -> ExperimentDetail:
        """Run its failed, diverged or cancelled trials again."""
        found = self._send("POST", f"/experiments/{experiment}/retry", {"which": which})
        return ExperimentDetail.model_validate(found)

    def extend(
        self,
        experiment: str,
        axes: Mapping[str, Any] | None = None,
        seeds: Seeds = 0,
        *,
        steps: int | None = None,
        sample: int | None = None,
    ) -> Extended:
        """Add axis values, seeds and sampled points to its grid, or a length; only what is new runs.

        Args:
            experiment: its id.
            axes: path -> further values.
            seeds: n for 0 .. n-1, or a list.
            steps: train every point for so many steps too, from where it ended if its state is kept (training.keep).
            sample: so many sampled points, more than it has.
        """
        further = {"steps": steps, "sample": sample}
        body = {"axes": dict(axes or {}), "seeds": seeds}
        body |= {name: value for name, value in further.items() if value is not None}
        return Extended.model_validate(self._send("POST", f"/experiments/{experiment}/extend", body))

    def thin(self, experiment: str, keep_every: int) -> Thinned:
        """Keep every n-th measured step of its ended trials, the first and the last; what goes is lost."""
        return Thinned.model_validate(self._send("POST", f"/experiments/{experiment}/thin", {"keep_every": keep_every}))

    def delete(self, experiment: str) -> None:
        """Delete it, and every trial that no other experiment holds."""
        self._call("DELETE", f"/experiments/{experiment}")

    def presets(self) -> list[PresetBody]:
        """The grids that ship with the service."""
        return [PresetBody.model_validate(item) for item in self._call("GET", "/presets")["items"]]

    def preset(self, name: str) -> PresetDetail:
        """One preset with its grid."""
        return PresetDetail.model_validate(self._call("GET", f"/presets/{name}"))

    def metric_definitions(self) -> list[MetricDefinition]:
        """Formula, level, unit, range and source of every metric."""
        return [MetricDefinition.model_validate(item) for item in self._call("GET", "/metric-definitions")["items"]]

    def ready(self) -> None:
        """Return if the service can take work; raises otherwise."""
        self._transport.call("GET", "/readyz")
