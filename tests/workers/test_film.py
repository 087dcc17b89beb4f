"""Stacks that go through several looks in one go: everything is as if they had been looked at one look at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from compilers import needs_compiler

from nfa_kernels.cost import LOOK_BYTES, LOOKS_AT_ONCE
from nfa_kernels.native.call import Looks
from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers import looks
from workers.blocks import Block, Lane, Stack
from workers.looks import MEASURED_SECONDS, End, first_ends, looks_at_once
from workers.motion import Stepping
from workers.training import _Run, train

pytestmark = needs_compiler
DATA: dict[str, Any] = {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1]}


def _lane(seed: int = 0, **training: Any) -> Lane:
    sections = {name: training.pop(name) for name in ("data", "network", "init", "measure") if name in training}
    document = {"data": DATA, "network": {"depth": 3, "width": 6}, "measure": {"points": 12, "exponents": [0.25]}}
    asked = {**document, **sections, "training": {"steps": 300, "learning_rate": 0.02} | training}
    return Lane(canonical(TrialSettings.model_validate(asked)), seed)


@pytest.fixture
def filmed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many looks were gone through in one go, each time."""
    counts, by_code = list[int](), Stepping.film
    # not fewer because the machine is busy
    monkeypatch.setattr(looks, "MEASURED_SECONDS", 1e9)
    monkeypatch.setattr(Stepping, "film", lambda self, looks: (counts.append(len(looks)), by_code(self, looks))[1])
    return counts


def _told(lanes: Sequence[Lane], **how: Any) -> dict[str, Any]:
    """Everything that a stack's blocks say, but for the time that it took."""
    blocks: list[Block] = list(train(Stack(tuple(lanes)), **how))
    rows = {
        name: [row for block in blocks for row in getattr(block, name).to_pylist()]
        for name in ("network", "layers", "parametrised")
    }
    places = {"network": ("lane", "step"), "layers": ("lane", "step", "layer")}
    places["parametrised"] = (*places["layers"], "name")
    return {
        **{
            name: {tuple(row[key] for key in keys): repr([*row.values()]) for row in rows[name]}
            for name, keys in places.items()
        },
        "rows": {name: len(found) for name, found in rows.items()},
        "ended": sorted(end for block in blocks for end in block.ended),
        **{kind: sorted(one for block in blocks for one in getattr(block, kind)) for kind in ("states", "weights")},
    }


RESMLP = {"kind": "resmlp", "depth": 4, "width": 6, "activation": "relu"}
EVERY = ["train_loss", "test_loss", "accuracy", "sharpness", "ntk_movement", "nfa_dnfa", "fact_alignment", "alignment"]
PLATEAU = {"metric": "train_loss", "over": 60, "change": 0.05}
STACKS: dict[str, list[Lane]] = {
    "alike": [_lane(seed) for seed in range(3)],
    "alone": [_lane()],
    "rates of their own": [_lane(seed, learning_rate=rate) for seed, rate in ((0, 0.02), (1, 0.01), (2, 0.03))],
    "momenta": [_lane(seed, optimizer="adam", learning_rate=0.002) for seed in range(3)],
    "schedules": [_lane(seed, schedule="cosine", weight_decay=0.1 * seed) for seed in range(3)],
    "minibatches": [_lane(seed, optimizer="sgd", batch_size=7, batch_order="shuffle") for seed in range(3)],
    "float32": [_lane(seed, dtype="float32", learning_rate=0.02 + 0.01 * seed) for seed in range(3)],
    "bends": [_lane(seed, network={"depth": 3, "width": 6, "activation": "tanh", "bias": True}) for seed in range(3)],
    "a graph": [_lane(seed, network=RESMLP) for seed in range(2)],
    "lengths of their own": [_lane(seed, steps=steps) for seed, steps in ((0, 300), (1, 64), (2, 200))],
    "one that explodes": [_lane(0), _lane(0, learning_rate=50.0), _lane(1)],
    "one that explodes between": [
        _lane(seed, learning_rate=rate, measure={"every": 150}) for seed, rate in ((0, 0.02), (0, 50.0), (1, 0.02))
    ],
    "all that explode": [_lane(seed, learning_rate=50.0) for seed in range(2)],
    "collapsing": [
        _lane(seed, learning_rate=0.1, weight_decay=decay, steps=900) for seed, decay in ((0, 5.0), (1, 0.01), (2, 9.0))
    ],
    "a loss to stop at": [_lane(seed, stop={"loss_below": 0.2}, learning_rate=0.02 + 0.01 * seed) for seed in range(3)],
    "a condition to stop at": [_lane(seed, stop={"when": "final.alignment > 0.6"}) for seed in range(3)],
    "plateaus": [_lane(seed, stop={"plateau": PLATEAU}) for seed in range(2)],
    "every kind of metric": [
        _lane(seed, data={**DATA, "test_samples": 9}, measure={"points": 9, "metrics": EVERY, "layers": [1, 3]})
        for seed in range(2)
    ],
    "other inputs": [_lane(seed, measure={"points": 9, "inputs": ["train", {"probes": 7}]}) for seed in range(2)],
    "data of all": [_lane(seed, data={**DATA, "seed": 5}) for seed in range(3)],
    "weights that are kept": [_lane(seed, measure={"points": 12, "weights": [3, 64, 100, 300]}) for seed in range(2)],
    "states that are kept": [replace(_lane(seed, steps=320), keeps=seed > 0) for seed in range(3)],
    "points that are far apart": [_lane(seed, steps=3000, measure={"every": 3000}) for seed in range(2)],
}


@pytest.mark.parametrize("name", STACKS)
def test_what_a_stack_tells_is_what_it_tells_when_it_is_looked_at_one_look_at_a_time(name: str, filmed: list[int]):
    one_by_one = _told(STACKS[name], block_seconds=0.0)
    assert not filmed
    found = _told(STACKS[name])
    assert max(filmed) > 1
    assert found == one_by_one


def test_stacks_of_these_kinds_end_in_every_way():
    reasons = {end.reason for lanes in STACKS.values() for end in _told(lanes)["ended"]}
    assert reasons == {"last_step", "loss_below", "collapsed", "exploded", "stop_when", "plateau"}


def test_a_stack_that_would_take_much_memory_for_many_looks_goes_through_few(
    filmed: list[int], monkeypatch: pytest.MonkeyPatch
):
    lanes = STACKS["alike"]
    known = _told(lanes)
    monkeypatch.setattr(looks, "LOOK_BYTES", 30_000)
    assert _told(lanes) == known and 1 < max(filmed[1:]) < max(filmed)


def test_who_takes_lanes_out_is_heard_after_each_film(filmed: list[int]):
    asked = 0

    def stopped() -> frozenset[int]:
        nonlocal asked
        asked += 1
        return frozenset({1}) if asked > 1 else frozenset()

    lanes = [_lane(seed, steps=9000, measure={"every": 10}) for seed in range(3)]
    ends = _told(lanes, stopped=stopped)["ended"]
    assert [end.lane for end in ends] == [0, 2]
    assert asked == len(filmed) > 2


def test_a_resumed_stack_tells_what_is_left(filmed: list[int]):
    lanes = [_lane(seed, steps=640, optimizer="adam") for seed in range(2)]
    blocks = list(train(Stack(tuple(lanes)), block_seconds=0.0, checkpoint_seconds=0.0))
    saved = next(block.checkpoints for block in blocks if block.checkpoints and block.checkpoints[0][1] > 100)
    whole = _told(lanes)
    again = _told([replace(lane, checkpoint=file) for lane, (_, _, file) in zip(lanes, saved, strict=True)])
    assert again["ended"] == whole["ended"] and again["rows"]["network"] < whole["rows"]["network"]
    for name in ("network", "layers", "parametrised"):
        assert again[name].items() <= whole[name].items()


def test_a_stack_goes_through_as_many_looks_as_room_and_those_who_wait_allow():
    assert looks_at_once(1000, 1e-4, 1.0) == looks_at_once(1000, 0.0, 1.0) == LOOKS_AT_ONCE
    assert looks_at_once(LOOK_BYTES // 7, 1e-4, 1.0) == 7
    assert looks_at_once(0, MEASURED_SECONDS / 5.5, 1.0) == 5
    for one in ((2 * LOOK_BYTES, 1e-4, 1.0), (1000, 30.0, 1.0), (1000, 1e-4, 0.0)):
        assert looks_at_once(*one) == 1


@pytest.mark.parametrize(
    ("steps", "places"), [((7,), (0,)), ((0,), (0,)), ((3, 2), (0, 1)), ((2, 2), (0, 1)), ((2, 4), (0, 2))]
)
def test_looks_that_steps_do_not_pass_are_refused(steps: tuple[int, ...], places: tuple[int, ...]):
    with torch.inference_mode():
        stack = _Run(Stack((_lane(),)), torch.device("cpu"), 1e9).motion
        assert isinstance(stack, Stepping) and stack._compiled is not None
        frames = tuple(weight.new_empty(len(steps), *weight.shape) for weight in stack.weights)
        with pytest.raises(ValueError, match="compiled steps: received"):
            stack._compiled.run(stack.weights, stack._data.of_steps(5), [1.0] * 5, Looks(steps, places, frames))


def _ends(healthy: Sequence[str], collapsed: Sequence[str], stops: Mapping[int, Mapping[int, str]], last: set[int]):
    """Looks as words of one letter for each network: x where it is so."""
    of = [[[letter == "x" for letter in word] for word in words] for words in (healthy, collapsed)]
    return first_ends(of[0], of[1], stops, last)


def test_a_network_ends_where_it_first_has_a_reason_to():
    assert _ends(["xx", "xx"], ["--", "--"], {}, set()) == {}
    assert _ends(["x-", "--"], ["--", "--"], {}, {0}) == {
        0: End(1, "diverged", "exploded"),
        1: End(0, "diverged", "exploded"),
    }
    assert _ends(["xx", "xx"], ["-x", "--"], {1: {0: "plateau"}}, set()) == {
        0: End(1, "completed", "plateau"),
        1: End(0, "completed", "collapsed"),
    }


def test_a_network_at_its_last_step_goes_on_if_nothing_else_ends_it():
    assert _ends(["xx", "xxx"], ["--", "--x"], {1: {1: "plateau"}}, {0, 1, 2}) == {
        0: End(1, "completed", "last_step", goes_on=True),
        1: End(1, "completed", "last_step"),
        2: End(1, "completed", "last_step"),
    }
