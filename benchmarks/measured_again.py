"""What a new metric costs on weights that were kept, beside training the networks that it is asked about."""

import time
from typing import Any

from service.client import Client
from service.states import TrialState

DECAYS = [0.0, 0.01, 0.03, 0.1, 0.3]
METRIC = "pearson"


def _grid(activation: str, steps: int, seeds: list[int]) -> dict[str, Any]:
    """Networks of these seeds at five weight decays, which keep their last weights."""
    settings = {
        "data": {"samples": 200, "inputs": 16, "outputs": 4},
        "network": {"depth": 3, "width": 16, "activation": activation},
        "training": {"steps": steps, "learning_rate": 0.01, "dtype": "float64"},
        "measure": {"points": 60, "weights": [steps]},
    }
    return {"name": "kept", "trial": settings, "axes": {"training.weight_decay": DECAYS}, "seeds": seeds}


def measured_again(client: Client, activation: str, networks: int, steps: int, rounds: int) -> float:
    """Print each round; the share of the time of training that measuring takes, each from the call to its last row."""
    each, training, measuring = networks // len(DECAYS), 0.0, 0.0
    client.wait(client.submit(_grid(activation, 200, [10**6])).id, poll_seconds=0.1)
    for number in range(rounds):
        began = time.monotonic()
        seeds = list(range(number * each, (number + 1) * each))
        one = client.wait(client.submit(_grid(activation, steps, seeds)).id, poll_seconds=0.1)
        assert one.counts[TrialState.COMPLETED] == networks, one.counts
        trained = time.monotonic()
        asked = client.measure(one.id, METRIC, at="final")
        [done] = client.wait_measured(one.id, poll_seconds=0.05)
        measured = time.monotonic() - trained
        assert (asked.trials, done.counts["completed"]) == (networks, networks), done.counts
        [row] = client.results(one.id, metric=[METRIC], group_by=["data.kind"], agg=["count"]).to_dicts()
        assert row[f"{METRIC}_count"] == networks, row
        print(f"  {activation:6}  training {trained - began:7.2f} s, then measuring {METRIC} {measured:6.2f} s")
        training, measuring = training + trained - began, measuring + measured
    return measuring / training
