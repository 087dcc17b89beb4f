"""Lanes of a stack that have the same data hold them once, and get the numbers that they get alone."""

import pyarrow as pa
import pytest
import torch

from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.blocks import Lane, Stack
from workers.preparing import prepared
from workers.training import train

DATA = {"samples": 300, "inputs": 5, "outputs": 2, "spectrum": [2, 1], "test_samples": 40}
KINDS = {
    "linear": {},
    "relu": {"network": {"depth": 3, "width": 6, "activation": "relu"}},
    "float32": {"network": {"depth": 3, "width": 6, "activation": "tanh"}, "training": {"dtype": "float32"}},
    "minibatches": {
        "network": {"depth": 2, "width": 6, "activation": "relu"},
        "training": {"optimizer": "sgd", "batch_size": 30},
    },
    "flow": {"training": {"optimizer": "gradient_flow"}},
    "a graph": {
        "data": {"kind": "digits", "layout": "image", "samples": 20, "test_samples": 4, "seed": 3},
        "network": {"kind": "convnet", "depth": 2, "width": 3},
        "training": {"loss": "cross_entropy"},
    },
}


def lanes(kind="relu", seeds=range(4), data_seed=3):
    """Lanes with initial weights of their own, of which the second one ends early."""
    sections = KINDS[kind]
    data = sections.get("data", DATA | ({} if data_seed is None else {"seed": data_seed}))
    made = []
    for seed in seeds:
        end = {"horizon": 2.0} if kind == "flow" else {"steps": 40 - 10 * (seed == 1)}
        training = {**sections.get("training", {}), **end}
        document = {"data": data, "network": sections.get("network", {"depth": 2, "width": 4}), "training": training}
        document["measure"] = {"points": 4, "layers": "all", "inputs": ["train", "test"]}
        made.append(Lane(canonical(TrialSettings.model_validate(document)), seed))
    return made


def rows(stack):
    """Every row of a stack by (lane, table), as text: bit for bit."""
    blocks = list(train(stack))
    found = {}
    for name in ("network", "layers", "parametrised"):
        for row in pa.Table.from_batches([getattr(block, name) for block in blocks]).to_pylist():
            found.setdefault((row.pop("lane"), name), []).append(str(row))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_lanes_that_share_their_data_get_the_bits_that_they_get_alone(kind):
    together = rows(Stack(tuple(lanes(kind))))
    for number, lane in enumerate(lanes(kind)):
        for (_, name), alone in rows(Stack((lane,))).items():
            assert together[number, name] == alone


@pytest.mark.parametrize("kind", ["relu", "float32"])
def test_what_all_lanes_share_is_held_once_also_after_some_have_ended(kind):
    ready = prepared(Stack(tuple(lanes(kind))), torch.device("cpu"), ())
    fewer = ready.data.select(torch.tensor([0, 2, 3]))
    for array in (ready.x, ready.x_test, ready.data.x, ready.data.x_test, fewer.x):
        assert array.untyped_storage().nbytes() == array[0].numel() * array.element_size()
    assert len(fewer.x) == 3 and torch.equal(fewer.x[2], ready.data.x[3])


def test_lanes_with_data_of_their_own_have_their_own():
    own = prepared(Stack(tuple(lanes(data_seed=None))), torch.device("cpu"), ())
    assert not torch.equal(own.x[0], own.x[1])
    assert own.x.is_contiguous()
