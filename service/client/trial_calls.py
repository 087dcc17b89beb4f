"""The client's calls about one trial: its settings, its series, its weights."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from service.client.calls import Calls, joined
from service.datasets.safetensors_files import SafetensorsFile
from service.questions.tables import series_table
from service.schemas.experiments import ExperimentBody
from service.schemas.trials import TrialDetail


class TrialCalls(Calls):
    """The part of the client that looks at single trials."""

    def trial(self, trial: str) -> TrialDetail:
        """One trial with its settings, final values, provenance and attempts."""
        return TrialDetail.model_validate(self._call("GET", f"/trials/{trial}"))

    def experiments_of(self, trial: str) -> list[ExperimentBody]:
        """The experiments that hold a trial, the oldest first."""
        return [ExperimentBody.model_validate(one) for one in self._pages(f"/trials/{trial}/experiments", {})]

    def measurements(
        self,
        trial: str,
        metrics: Sequence[str] | None = None,
        *,
        layer: int | str | None = None,
        max_points: int | None = None,
    ) -> pl.DataFrame:
        """One trial's series: columns step, time and a column per metric; undefined is null."""
        params = {"metrics": joined(metrics), "layer": layer, "max_points": max_points}
        return series_table(self._call("GET", f"/trials/{trial}/measurements", params=params))

    def weights(self, trial: str, step: int | None = None) -> dict[str, np.ndarray]:
        """A trial's weights at a step under measure.weights, default the last: w1 .. wL, with biases b1 .. bL."""
        with tempfile.TemporaryDirectory(prefix="nfa-weights-") as folder:
            file = SafetensorsFile(self.download_weights(trial, Path(folder) / "w.safetensors", step).read_bytes())
            return {name: file.read(name) for name in file.shapes}

    def download_weights(self, trial: str, path: Path | str, step: int | None = None) -> Path:
        """The same as a .safetensors file, for `safetensors.numpy.load_file` or `safetensors.torch.load_file`."""
        params = {} if step is None else {"step": step}
        self._transport.download(f"/api/v1/trials/{trial}/weights", Path(path), params=params, headers={})
        return Path(path)
