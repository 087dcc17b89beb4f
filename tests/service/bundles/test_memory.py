"""What a bundle takes does not grow with its trials."""

import tracemalloc

import pyarrow as pa
import pytest
from reports import lease, report

from service.bundles import pictures, writing
from service.bundles.study import Said, study_of
from service.grid.expansion import expand
from service.store import curves, study_records, submissions
from service.store.experiments import get_experiment
from service.store.reports import record

STEPS = list(range(0, 500, 10))


def _measured(store, trials):
    """An experiment of so many trials with fifty steps each, drawn and not trained."""
    grid = {
        "name": f"of {trials}",
        "trial": {
            "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
            "network": {"depth": 2, "width": trials},
            "training": {"steps": STEPS[-1]},
            "measure": {"every": 10, "metrics": ["alignment", "train_loss"]},
        },
        "seeds": trials,
    }
    made = submissions.create_experiment(store, expand(grid))
    while leased := lease(store):
        assert not record(store, report(leased, STEPS, ends=True), 30.0)
    return made.id


def _most_bytes(store, experiment):
    """The most that Python, NumPy and Arrow held at once, and the longest part that was handed on."""
    study = study_of(store, [experiment], Said(with_figures=False))
    arrow_before, longest, arrow = pa.total_allocated_bytes(), 0, 0
    tracemalloc.start()
    for part in writing.bundle(store, study):
        longest, arrow = max(longest, len(part)), max(arrow, pa.total_allocated_bytes() - arrow_before)
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return traced + arrow, longest


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_four_times_the_trials_take_no_more_memory(store, monkeypatch):
    monkeypatch.setattr(writing, "PIECE_ROWS", 1_000)
    monkeypatch.setattr(study_records, "_PAGE", 50)
    small, large = _measured(store, 200), _measured(store, 800)
    _most_bytes(store, small)  # what is imported and kept for ever
    (few, _), (many, part) = (_most_bytes(store, one) for one in (small, large))
    # rows are 40,000 more, of seven columns of eight bytes: held whole they would be 2.4 MB
    assert many - few < 1_000_000, (few, many)
    assert part < 200_000


def _most_bytes_of_curves(store, experiment):
    """The most that Python and NumPy held at once while one line's data were read, and how many points it has."""
    source = pictures._InPrint(store, get_experiment(store, experiment))
    tracemalloc.start()
    points = source.curves("alignment", ["data.kind"], 1, "").height
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most, points


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_the_data_of_a_figure_of_four_times_the_trials_take_little_more_memory(store, monkeypatch):
    monkeypatch.setattr(curves, "ROWS_AT_ONCE", 5_000)
    monkeypatch.setattr(pictures, "MOST_POINTS", 30)
    small, large = _measured(store, 200), _measured(store, 800)
    _most_bytes_of_curves(store, small)
    (few, points), (many, _) = (_most_bytes_of_curves(store, one) for one in (small, large))
    # 30,000 rows more would be 3 MB while they are averaged; a trial itself takes some 600 bytes
    assert many - few < 1_000_000, (few, many)
    assert points == 30
