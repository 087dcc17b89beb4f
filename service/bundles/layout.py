"""What a bundle holds and under which names; docs/bundles.md describes it for readers."""

import re
from typing import Final

FORMAT: Final = 1
"""Raised when a reader of the form before could not read it."""

SUMS, ABOUT, CRATE = "SHA256SUMS", "bundle.json", "ro-crate-metadata.json"
README, CITATION, REFERENCES = "README.md", "CITATION.cff", "references.bib"

GRID, EXPERIMENT, VERDICTS, TRIALS = "grid.json", "experiment.json", "verdicts.json", "trials.ndjson"
MEASUREMENTS, FINALS = "measurements.parquet", "finals.parquet"

_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}"
NAME: Final = re.compile(rf"{_PART}(?:/{_PART}){{0,3}}")
"""Names of files in a bundle: relative, plain, and never upwards."""

KINDS: Final = {
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".md": "text/markdown",
    ".cff": "application/yaml",
    ".bib": "application/x-bibtex",
    ".npz": "application/zip",
    ".safetensors": "application/octet-stream",
}


def kind_of(name: str) -> str:
    """The media type of a file, by its name."""
    return next((kind for ending, kind in KINDS.items() if name.endswith(ending)), "text/plain")


def weights_file(trial: str, step: int) -> str:
    """Where a trial's weights of a step lie."""
    return f"weights/{trial}/{step}.safetensors"


def dataset_files(sha256: str) -> tuple[str, str]:
    """Where the arrays of an uploaded dataset lie, and what is known of it."""
    return f"datasets/{sha256}.npz", f"datasets/{sha256}.json"
