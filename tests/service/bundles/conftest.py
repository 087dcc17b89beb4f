"""A small study that has been trained, and its bundle."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from training_here import train_everything

from service.bundles.study import Said, study_of
from service.bundles.writing import bundle
from service.grid.expansion import expand
from service.store import schema, submissions
from service.store.session import Store, open_store

# bundles of strangers are made beside the tests
sys.path.insert(0, str(Path(__file__).parent))

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


SAID = Said("On small networks", ("Ada Lovelace",), "CC-BY-4.0", with_weights=True, with_figures=False)
"""Figures take seconds."""


def _trained(store: Store, grid: dict[str, Any]) -> list[str]:
    """Two experiments of one store that share trials; some of their metrics have no column of their own."""
    own = {"metrics": [*METRICS, "agop_singular_value@1"], "exponents": [0.25], "layers": "all", "weights": [20]}
    grid = grid | {"name": "a study", "claims": CLAIMS}
    grid["trial"] = grid["trial"] | {"measure": grid["trial"]["measure"] | own}
    wider = grid | {"name": "wider", "seeds": 4, "claims": []}
    made = [submissions.create_experiment(store, expand(one), document=one, owner="ada").id for one in (grid, wider)]
    train_everything(store)
    return made


@pytest.fixture
def studied(store: Store, tiny_grid: Callable[..., dict[str, Any]]) -> list[str]:
    """Two experiments, trained, on each database."""
    return _trained(store, tiny_grid())


@pytest.fixture
def written(store: Store, studied: list[str], tmp_path: Path) -> Path:
    """The bundle of both."""
    file = tmp_path / "study.zip"
    file.write_bytes(b"".join(bundle(store, study_of(store, studied, SAID))))
    return file


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[str]]]:
    """The same, trained once, for tests that only read it."""
    trial = {
        "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 2, "width": 4},
        "training": {"steps": 20},
        "measure": {"points": 5},
    }
    grid = {"name": "tiny", "trial": trial, "axes": {"training.weight_decay": [0, 0.1]}, "seeds": 3}
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('study') / 'nfa.db'}") as store:
        schema.upgrade(store)
        yield store, _trained(store, grid)


@pytest.fixture(scope="session")
def study_content(small_study: tuple[Store, list[str]]) -> bytes:
    """Its bundle."""
    store, ids = small_study
    return b"".join(bundle(store, study_of(store, ids, SAID)))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with nothing in it, to copy."""
    file = tmp_path_factory.mktemp("empty") / "nfa.db"
    with open_store(f"sqlite:///{file}") as store:
        schema.upgrade(store)
    return file


@pytest.fixture
def handed(study_content: bytes, tmp_path: Path) -> Path:
    """A bundle as a file that somebody handed over."""
    file = tmp_path / "handed.zip"
    file.write_bytes(study_content)
    return file


@pytest.fixture
def other(empty_store: Path, tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    shutil.copy(empty_store, tmp_path / "other.db")
    with open_store(f"sqlite:///{tmp_path / 'other.db'}") as opened:
        yield opened
