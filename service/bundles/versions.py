"""What a bundle was made with, and what its trials were trained with. Pure but for the versions installed here."""

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from nfa_kernels import names

_PACKAGES: Final = ("nfa-service", "torch", "numpy", "ray", "polars", "pyarrow", "altair", "vl-convert-python")
_TRAINED_WITH: Final = ("service", "kernels", "streams", "torch", "ray", "device", "processor", "dtype")


class TrainedWith:
    """Counts trials by what they were trained with."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[tuple[str, str | None], ...]] = Counter()

    def add(self, provenance: Mapping[str, Any] | None) -> None:
        """Count a trial."""
        if provenance:
            found = {name: provenance.get(name) for name in _TRAINED_WITH}
            self._counts[tuple((name, None if value is None else str(value)) for name, value in found.items())] += 1

    def listed(self) -> list[dict[str, Any]]:
        """Each combination with its number of trials, the commonest first."""
        return [{**dict(key), "trials": count} for key, count in self._counts.most_common()]


def versions(trained: TrainedWith) -> dict[str, Any]:
    """The contents of versions.json."""
    return {
        "numerical": {"kernels": names.NUMERICAL_VERSION, "streams": names.STREAM_VERSION},
        "made_with": {
            **{name: version for name in _PACKAGES if (version := _version(name))},
            "python": platform.python_version(),
            "machine": platform.machine(),
            "system": platform.system(),
        },
        "trained_with": trained.listed(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
