"""A small study that has been trained, and its bundle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.bundles.study import Said, study_of
from service.bundles.writing import bundle
from service.grid.expansion import expand
from service.store import submissions
from service.store.session import Store

CLAIMS = [
    {"id": "fits", "says": "every network | fits", "metric": "relative_loss", "every_trial": "<= 1", "gate": "none"},
    {"id": "rate", "metric": "imbalance", "fit": {"kind": "rate", "between": [-9, 9]}, "gate": "none"},
    {"id": "aligned", "metric": "alignment", "group": {"by": ["seed"], "is": ">= 0.2"}, "gate": "none"},
]
METRICS = [
    "alignment",
    "best_exponent",
    "best_exponent_kind",
    "train_loss",
    "relative_loss",
    "imbalance",
    "fact_alignment",
]
METRICS += ["generalisation_gap"]


@pytest.fixture
def studied(store: Store, tiny_grid: Callable[..., dict[str, Any]], train_queue: Callable[[], None]) -> list[str]:
    """Two experiments of one store that share trials; some of their metrics have no column of their own."""
    grid = tiny_grid(claims=CLAIMS, name="a study")
    grid["trial"]["measure"] |= {
        "metrics": [*METRICS, "agop_singular_value@1"],
        "exponents": [0.25],
        "layers": "all",
        "weights": [20],
    }
    wider = grid | {"name": "wider", "seeds": 4, "claims": []}
    made = [submissions.create_experiment(store, expand(one), document=one, owner="ada").id for one in (grid, wider)]
    train_queue()
    return made


@pytest.fixture
def written(store: Store, studied: list[str], tmp_path: Path) -> Path:
    """The bundle of both, without figures, which take seconds."""
    said = Said("On small networks", ("Ada Lovelace",), "CC-BY-4.0", with_weights=True, with_figures=False)
    file = tmp_path / "study.zip"
    file.write_bytes(b"".join(bundle(store, study_of(store, studied, said))))
    return file
