"""When a dispatcher looks for rounds: as often as for work, and at once when trials have ended. On both databases."""

from service.grid.fitting import Limits
from service.store import submissions
from service.store.expansions import expanded
from workers.searches import Searches
from workers.settings import WorkerSettings

GRID = {
    "trial": {
        "data": {"samples": 8, "inputs": 3, "outputs": 2, "spectrum": [1.0]},
        "network": {"width": 3, "depth": 2},
        "training": {"steps": 0},
        "measure": {"metrics": ["train_loss"]},
    },
    "axes": {"training.weight_decay": [0.01, 1.0]},
    "refine": {"axis": "training.weight_decay", "where": "training.weight_decay < 0.3", "tolerance": 0.05},
}


def test_a_look_is_not_repeated_until_trials_have_ended(store, train_queue):
    searches = Searches(store, WorkerSettings(idle_poll_seconds=3600))
    submissions.create_experiment(store, expanded(store, GRID, Limits()), document=GRID)
    assert not searches.turn(0)
    train_queue()
    assert not searches.turn(0)
    assert searches.turn(2)
    assert not searches.turn(2)
    train_queue()
    assert searches.turn(3)
