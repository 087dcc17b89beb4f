"""Dispatchers that plan the rounds of a search are killed: nothing is lost, nothing is added twice. Both databases."""

import signal

from processes import wait_for_end, wait_until
from sqlalchemy import select

from service.grid.fitting import Limits
from service.questions.brackets import Axis, Tolerance, follow
from service.store import ids, submissions
from service.store.expansions import expanded
from service.store.models import search_round
from service.store.trial_rows import trials_of

EDGES = {2: 0.3, 3: 0.05}
GRID = {
    "trial": {
        "data": {"samples": 8, "inputs": 3, "outputs": 2, "spectrum": [1.0]},
        "network": {"width": 3},
        "training": {"steps": 20},
        "measure": {"points": 3, "metrics": ["train_loss"]},
    },
    "axes": {"network.depth": [2, 3], "training.weight_decay": [0.01, 1.0]},
    "seeds": 2,
    "refine": {
        "axis": "training.weight_decay",
        "where": "training.weight_decay < 0.3 and network.depth == 2 or training.weight_decay < 0.05",
        "tolerance": 0.02,
    },
}


def test_a_search_whose_dispatchers_are_killed_tries_what_an_undisturbed_one_tries(store, dispatchers):
    expansion = expanded(store, GRID, Limits())
    experiment = submissions.create_experiment(store, expansion, document=GRID).id
    # two at once, which notice at the same time that a round is due
    pair = [dispatchers.start(), dispatchers.start()]
    wait_until(lambda: len(_rounds(store)) >= 2)
    for one in pair:
        one.signal(signal.SIGKILL)
        one.process.wait()
    dispatchers.start()
    wait_for_end(store, experiment)
    assert _rounds(store) == list(range(1, len(_rounds(store)) + 1))
    with store.read() as connection:
        rows = trials_of(connection, ids.experiment_number(experiment))
    tried = [(r.settings["network"]["depth"], r.settings["training"]["weight_decay"], r.seed) for r in rows]
    assert sorted(tried) == sorted(
        (depth, value, seed) for depth in EDGES for value in _values(depth) for seed in (0, 1)
    )
    assert {row.state.value for row in rows} == {"completed"}


def _rounds(store):
    with store.read() as connection:
        return list(connection.scalars(select(search_round.c.number).order_by(search_round.c.number)))


def _values(depth):
    """What a search at this depth tries, worked out without a store."""
    axis, tried = Axis("log", Tolerance(0.02)), {0.01: True, 1.0: False}
    while add := follow(tried, axis).add:
        tried |= {value: value < EDGES[depth] for value in add}
    return list(tried)
