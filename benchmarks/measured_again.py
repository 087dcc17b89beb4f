"""What a new metric costs on weights that were kept, beside training the networks that it is asked about."""

import time
from typing import Any

from taken import Took, cpu, share

from service.client import Client
from service.states import TrialState

DECAYS = [0.0, 0.01, 0.03, 0.1, 0.3]
METRIC = "pearson"
STEPS = {"linear": 6000, "tanh": 400}
"""Of each activation; the fewer there are, the larger is the share that measuring takes."""


def _grid(activation: str, steps: int, seeds: list[int]) -> dict[str, Any]:
    """Networks of these seeds at five weight decays, which keep their last weights."""
    settings = {
        "data": {"samples": 200, "inputs": 16, "outputs": 4},
        "network": {"depth": 3, "width": 16, "activation": activation},
        "training": {"steps": steps, "learning_rate": 0.01, "dtype": "float64"},
        "measure": {"points": 60, "weights": [steps]},
    }
    return {"name": "kept", "trial": settings, "axes": {"training.weight_decay": DECAYS}, "seeds": seeds}


def measured_again(client: Client, activation: str, networks: int, steps: int, rounds: int) -> Took:
    """Print each round; the share of training that measuring takes, each from the call to its last row."""
    each, training, measuring = networks // len(DECAYS), list[Took](), list[Took]()
    client.wait(client.submit(_grid(activation, 200, [10**6])).id, poll_seconds=0.1)
    for number in range(rounds):
        began, used = time.monotonic(), cpu()
        seeds = list(range(number * each, (number + 1) * each))
        one = client.wait(client.submit(_grid(activation, steps, seeds)).id, poll_seconds=0.5)
        assert one.counts[TrialState.COMPLETED] == networks, one.counts
        trained = Took(time.monotonic() - began, cpu() - used)
        began, used = time.monotonic(), cpu()
        asked = client.measure(one.id, METRIC, at="final")
        [done] = client.wait_measured(one.id, poll_seconds=0.1)
        measured = Took(time.monotonic() - began, cpu() - used)
        assert (asked.trials, done.counts["completed"]) == (networks, networks), done.counts
        [row] = client.results(one.id, metric=[METRIC], group_by=["data.kind"], agg=["count"]).to_dicts()
        assert row[f"{METRIC}_count"] == networks, row
        print(
            f"  {activation:6}  training of {steps} steps {trained.wall:6.2f} s, cpu {trained.cpu:6.2f}; "
            f"then measuring {METRIC} {measured.wall:5.2f} s, cpu {measured.cpu:5.2f}",
            flush=True,
        )
        training.append(trained)
        measuring.append(measured)
    return share(measuring, training)
