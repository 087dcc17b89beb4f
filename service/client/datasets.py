"""The client's calls about uploaded files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from service.client.calls import Calls
from service.client.grids import read_file, wrong
from service.schemas.datasets import DatasetBody

MEDIA: Final = {
    ".npz": "application/x-npz",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/vnd.safetensors",
}
"""What a file is sent as, by its ending."""


class DatasetCalls(Calls):
    """The part of the client that uploads files, looks at them and deletes them."""

    def upload(
        self,
        path: Path | str,
        name: str | None = None,
        *,
        x: str | Sequence[str] | None = None,
        y: str | Sequence[str] | None = None,
        x_test: str | Sequence[str] | None = None,
        y_test: str | Sequence[str] | None = None,
        targets: Literal["auto", "classes", "numbers"] = "auto",
    ) -> DatasetBody:
        """Upload a file; the answer says what it was read as, its id is what a grid names as dataset_id or weights_id.

        Args:
            path: ends in .npz, .safetensors, .csv or .parquet.
            name: a label for people; default: the file's name.
            x: columns of a table, or the one array of a file, that are x: names, or `first..last`; default: by name.
            y: those that are y.
            x_test: those of a test set's inputs.
            y_test: those of its targets.
            targets: classes: whole numbers in y are labels, made one-hot; numbers: they are not; auto: by kind.
        """
        path = Path(path)
        media = MEDIA.get(path.suffix.lower())
        if media is None:
            raise wrong("", f"{path.name}: an upload is a file ending in {', '.join(MEDIA)}")
        chosen = {"x": x, "y": y, "x_test": x_test, "y_test": y_test}
        found = self._call(
            "POST",
            "/datasets",
            params={"name": name or path.stem, "targets": None if targets == "auto" else targets}
            | {role: [names] if isinstance(names, str) else names and [*names] for role, names in chosen.items()},
            content=read_file(path),
            headers={"Content-Type": media},
        )
        return DatasetBody.model_validate(found)

    def datasets(self) -> Iterator[DatasetBody]:
        """Uploaded files; pages are fetched as they are needed."""
        for item in self._pages("/datasets", {}):
            yield DatasetBody.model_validate(item)

    def dataset(self, dataset: str) -> DatasetBody:
        """What one uploaded file was read as."""
        return DatasetBody.model_validate(self._call("GET", f"/datasets/{dataset}"))

    def delete_dataset(self, dataset: str) -> None:
        """Delete an uploaded file that no experiment's trial uses."""
        self._call("DELETE", f"/datasets/{dataset}")
