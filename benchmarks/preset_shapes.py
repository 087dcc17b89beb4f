"""Every shape of the presets about networks that are not fully connected, trained as a stack and by the peer, by turns.

    python benchmarks/preset_shapes.py [PRESET ..]

One process, one thread: processor time of a trial's steps and measurements in a stack of the preset's seeds against one
trial of the torch.nn script (`peer_networks`), with the trial's own steps cut to 40 and two measurements of the first
layer. Other work on the machine takes turns with both sides alike.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# before torch is imported: this package's trainers set the arithmetic of the tensor library
import workers  # noqa: F401

import torch  # isort: skip
import yaml
from peer_networks import NetworkSweep, timed_network
from timing import machine

from service.grid.data_shapes import known_shape
from service.grid.expansion import expand
from workers.allocation import keep_freed_memory
from workers.blocks import Lane, Stack
from workers.training import train

PRESETS = Path(__file__).parents[1] / "service" / "presets"
NAMES = ("convnet", "residual", "attention", "architectures")
STEPS = 40


def shapes(preset: str) -> list[Mapping[str, Any]]:
    """Settings of the first grid point of every network, data shape and rule."""
    document = yaml.safe_load((PRESETS / f"{preset}.yaml").read_text())
    grid: dict[str, Any] = {name: document[name] for name in ("name", "trial", "zip", "axes") if name in document}
    grid["seeds"] = 1
    grid["trial"]["training"] |= {"steps": STEPS}
    grid["trial"]["measure"] = {"steps": [0, STEPS], "metrics": ["train_loss", "alignment"]}
    found: dict[str, Mapping[str, Any]] = {}
    for point in expand(grid).points:
        key = [
            point.settings["network"],
            str(known_shape(point.settings["data"])),
            point.settings["training"]["optimizer"],
        ]
        found.setdefault(json.dumps(key), point.settings)
    return [*found.values()]


def peer_of(settings: Mapping[str, Any]) -> NetworkSweep:
    """The same sizes for the peer."""
    shape, training, network = known_shape(settings["data"]), settings["training"], dict(settings["network"])
    kind = network.setdefault("kind", "mlp")
    if kind == "mlp":
        network |= {"depth": len(network["width"]) + 1, "width": network["width"][0]}
    loss = training["loss"] if training["loss"] == "cross_entropy" else "half"
    sizes = (shape.form, shape.outputs, shape.samples, STEPS, STEPS, training["dtype"])
    rates = {"learning_rate": training["learning_rate"], "weight_decay": training["weight_decay"]}
    return NetworkSweep(
        kind, network, *sizes, optimizer=training["optimizer"], loss=loss, vocabulary=shape.vocabulary or 0, **rates
    )


def seconds(settings: Mapping[str, Any], seeds: int, rounds: int) -> tuple[float, float]:
    """Least processor time of a trial of ours, and of the peer's, by turns."""
    sweep, ours, theirs = peer_of(settings), [], []
    for number in range(rounds + 1):
        started = time.process_time()
        for _ in train(Stack(tuple(Lane(settings, seed) for seed in range(seeds)))):
            pass
        between = time.process_time()
        timed_network(sweep, number)
        ended = time.process_time()
        ours.append((between - started) / seeds)
        theirs.append(ended - between)
    return min(ours[1:]), min(theirs[1:])


def main() -> None:
    """Print a line for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", choices=[*NAMES, []], help="default: all")
    parser.add_argument("--seeds", type=int, default=10, help="networks of a stack; the presets have 10")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best of each side counts")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print(machine())
    print(f"processor time of a trial of {STEPS} steps, one of a stack of {chosen.seeds}\n")
    for preset in chosen.presets or NAMES:
        for settings in shapes(preset):
            ours, theirs = seconds(settings, chosen.seeds, chosen.rounds)
            network = settings["network"]
            sizes = f"{network.get('kind', 'mlp')} {network.get('activation', '')} norm {network.get('norm', 'none')}"
            data = known_shape(settings["data"])
            told = f"{preset:14} {sizes:34} {data.form!s:10} n = {data.samples:<4}"
            print(f"{told} {1e3 * ours:8.2f} ms, the script {1e3 * theirs:8.2f} ms {theirs / ours:6.1f}x", flush=True)


if __name__ == "__main__":
    main()
