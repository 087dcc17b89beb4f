"""Captured steps, on a stand-in that keeps what a graph of CUDA keeps: the numbers of steps launched one by one."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from absent_gpu import AbsentGPU
from absent_graphs import AbsentGraphs, absent_graphs
from stacks_on_a_device import STEPPED, moving, moving_together, settings_of, stepped
from torch import Tensor

from nfa_kernels import names
from workers import captured
from workers.blocks import Lane, Stack
from workers.captured import CapturedSteps
from workers.steps import Steps
from workers.training import train

STEPS, SETTLED, LOOK = 14, 4, 16
PRODUCT, RELU = {"depth": 3, "width": 6}, {"depth": 3, "width": 6, "activation": "relu", "bias": True}
MINIBATCHES = {"batch_size": 7}


@pytest.fixture(autouse=True)
def early(monkeypatch):
    """Steps are captured, and soon."""
    monkeypatch.setenv(captured.SWITCH, "1")
    monkeypatch.setattr(captured, "SETTLED_STEPS", SETTLED)
    captured._say.cache_clear()


@pytest.fixture
def graphs() -> Iterator[AbsentGraphs]:
    with AbsentGPU() as gpu, absent_graphs(gpu) as found, torch.inference_mode():
        yield found


def _stepped(moved: Any, number: int | None = None) -> list[Tensor]:
    """All that moves, and where minibatches are, at a point, or at the last one."""
    number = moved.points - 1 if number is None else number
    while not moved.reached(number):
        moved.advance(number)
    return [one.cpu() for one in moved.state(number).values()]


def _launched(lanes: list[Any], monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The same without graphs."""
    with monkeypatch.context() as patched:
        patched.delenv(captured.SWITCH)
        return _stepped(moving_together(lanes))


def _farthest(found: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest difference, over the size of the numbers."""
    pairs = [(one.double(), other.double()) for one, other in zip(found, wanted, strict=True) if other.numel()]
    return max(float(((one - other).abs() / (1e-3 + other.abs())).max()) for one, other in pairs)


def _rule(rule: str, network: dict[str, Any], **training: Any) -> Any:
    """Settings with decay, a schedule and, where the rule takes them, minibatches."""
    if names.OPTIMIZERS[rule].minibatches != "never":
        training = MINIBATCHES | training
    return settings_of(network, optimizer=rule, weight_decay=0.05, schedule="cosine", steps=STEPS, **training)


@pytest.mark.parametrize("network", [PRODUCT, RELU], ids=["product", "relu"])
@pytest.mark.parametrize("rule", ["gd", "sgd", "momentum", "nesterov", "adam", "adamw"])
def test_replayed_steps_with_decay_schedule_and_minibatches_are_the_launched_ones(rule, network, graphs, monkeypatch):
    lanes = [_rule(rule, network)] * 2
    found = _stepped(moving_together(lanes))
    assert graphs.counts == {"captured": 1, "replayed": STEPS - SETTLED}
    assert _farthest(found, _launched(lanes, monkeypatch)) < 1e-12


@pytest.mark.parametrize("case", ["wider than its batch", "muon", "resmlp", "transformer"])
def test_networks_and_rules_of_other_kinds_are_replayed_as_well(case, graphs, monkeypatch):
    assert case in STEPPED
    settings = stepped(case)
    settings["training"]["steps"] = SETTLED + 6
    found = _stepped(moving(settings, 2))
    assert graphs.counts == {"captured": 1, "replayed": 6}
    assert _farthest(found, _launched([settings] * 2, monkeypatch)) < 1e-12


@pytest.mark.parametrize(
    ("training", "within"),
    [
        ({"dtype": "float32", "optimizer": "adam"}, 1e-3),
        ({"dtype": "float32", "optimizer": "sgd", "weight_decay": 1e-6, **MINIBATCHES}, 1e-5),
        ({"optimizer": "sgd", "batch_order": "cyclic", **MINIBATCHES}, 1e-12),
        ({"optimizer": "adam", "layers": {"1": {"learning_rate": 0.5}}, "weight_decay": 0.1}, 1e-12),
    ],
    ids=["float32", "weights wider than their passes", "minibatches in a row", "parameters with rates of their own"],
)
def test_other_ways_to_keep_and_to_move_weights_are_replayed_as_well(training, within, graphs, monkeypatch):
    lanes = [settings_of(RELU, steps=STEPS, **training)] * 2
    found = _stepped(moving_together(lanes))
    assert graphs.counts["captured"] == 1
    assert _farthest(found, _launched(lanes, monkeypatch)) < within


def test_networks_with_schedules_of_their_own_keep_them_and_are_captured_anew_when_one_leaves(graphs, monkeypatch):
    shared = {"optimizer": "adam", "steps": 24, "schedule": "step", "schedule_factor": 0.5, **MINIBATCHES}
    lanes = [settings_of(RELU, **shared, schedule_steps=steps) for steps in (3, 60, 7)]
    for one in lanes:
        one["measure"] = {**one["measure"], "steps": [0, 10, 24]}

    def left() -> list[Tensor]:
        moved = moving_together(lanes)
        _stepped(moved, 1)
        moved.keep(torch.tensor([0, 2], device=AbsentGPU.device))
        return _stepped(moved)

    found = left()
    assert graphs.counts["captured"] == 2
    monkeypatch.delenv(captured.SWITCH)
    assert _farthest(found, left()) < 1e-12


def test_what_is_restored_goes_on_in_the_same_graph(graphs, monkeypatch):
    settings = _rule("adam", RELU)
    settings["measure"] = {**settings["measure"], "steps": [0, 10, STEPS]}
    moved = moving(settings, 2)
    _stepped(moved, 1)
    state = {name: part.cpu().clone() for name, part in moved.state(2).items()}
    first = _stepped(moved)
    moved.restore(state)
    second = _stepped(moved)
    assert graphs.counts == {"captured": 1, "replayed": 2 * (STEPS - 10) + 10 - SETTLED}
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert _farthest(first, _launched([settings] * 2, monkeypatch)) < 1e-12


def _freeze(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have steps, inside of a graph, take one number from the program instead of from the device."""
    whole, of_graph, in_graph, taken = Steps.moved, CapturedSteps._step, [False], dict[str, Any]()

    def step(steps: Any, fixed: Any) -> None:
        in_graph[0] = True
        of_graph(steps, fixed)
        in_graph[0] = False

    def moved(steps: Any, moving: Any, pace: Any, rows: Any = None) -> Any:
        weights, (state,) = moving
        if not in_graph[0]:
            taken.update(count=state.count, pace=pace)
            return whole(steps, moving, pace, rows)
        taken.setdefault("rows", rows)
        pace, rows = (taken[name] if what == name else own for name, own in (("pace", pace), ("rows", rows)))
        before = state._replace(count=taken["count"]) if what == "count" else state
        after, (moved_state,) = whole(steps, (weights, (before,)), pace, rows)
        return after, (moved_state._replace(count=state.count + 1),)

    monkeypatch.setattr(CapturedSteps, "_step", step)
    monkeypatch.setattr(Steps, "moved", moved)


@pytest.mark.parametrize("what", ["count", "pace", "rows", "nothing"])
def test_a_number_that_a_graph_froze_is_seen_and_the_graph_dropped(what, graphs, monkeypatch, caplog):
    lanes = [_rule("adam", RELU)] * 2
    wanted = _launched(lanes, monkeypatch)
    _freeze(what, monkeypatch)
    found = _stepped(moving_together(lanes))
    if what == "nothing":
        assert graphs.counts["replayed"] == STEPS - SETTLED and not caplog.records
        return
    assert graphs.counts["replayed"] == captured.COMPARED_STEPS
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))
    assert "launched one by one: replayed steps differ" in caplog.records[0].message
    # and if nobody compared
    monkeypatch.setattr(captured, "_is_close", lambda replayed, plain: True)
    found = _stepped(moving_together(lanes))
    assert graphs.counts["replayed"] == captured.COMPARED_STEPS + STEPS - SETTLED
    assert _farthest(found, wanted) > 1e-3


def _asks(steps: Any, weights: Any) -> None:
    float(weights[0].sum())


def _copies(steps: Any, weights: Any) -> None:
    torch.ones(3).to(weights[0].device)


@pytest.mark.parametrize("does", [_asks, _copies])
def test_a_step_that_cannot_be_captured_is_launched_and_that_is_said_once(does, graphs, monkeypatch, caplog):
    lanes = [_rule("momentum", RELU)] * 2
    wanted, whole = _launched(lanes, monkeypatch), Steps.moved

    def moved(steps: Any, moving: Any, pace: Any, rows: Any = None) -> Any:
        does(steps, moving[0])
        return whole(steps, moving, pace, rows)

    monkeypatch.setattr(Steps, "moved", moved)
    for _ in range(2):
        stack = moving_together(lanes)
        assert all(torch.equal(*pair) for pair in zip(_stepped(stack), wanted, strict=True))
        assert not stack.is_captured
    assert graphs.counts == {"refused": 2}
    assert len([one for one in caplog.records if "no graph of a step could be captured" in one.message]) == 1


@pytest.mark.parametrize("case", ["a product", "tanh on minibatches"])
def test_between_two_looks_there_are_as_many_launches_as_steps_and_a_few(case, graphs, monkeypatch):
    monkeypatch.setattr("workers.motion.CHECK_STEPS", LOOK)
    moved = moving(stepped(case), 3)
    while moved.step < 2 * LOOK:
        moved.advance(moved.points - 1)
    assert moved.is_captured
    graphs.gpu.reset()
    moved.advance(moved.points - 1)
    assert moved.step == 3 * LOOK
    launches = dict(graphs.gpu.launches)
    assert launches.pop("graph") == LOOK
    assert sum(launches.values()) < 10 and not graphs.gpu.waits


def test_whole_trainings_say_that_they_were_captured_and_measure_the_same():
    settings = settings_of(RELU, optimizer="adam", steps=70)
    settings["measure"] = {**settings["measure"], "steps": [0, 3, 30, 70], "metrics": ["train_loss"]}

    def trained(device: str) -> tuple[list[float], bool]:
        blocks = list(train(Stack(tuple(Lane(settings, seed) for seed in range(2))), device))
        losses = [loss for block in blocks for loss in block.network.column("train_loss").to_pylist()]
        return losses, blocks[-1].is_captured

    here = trained("cpu")
    with AbsentGPU() as gpu, absent_graphs(gpu):
        there = trained("cuda:0")
    assert there[0] == pytest.approx(here[0], rel=1e-9)
    assert (here[1], there[1]) == (False, True)


@pytest.mark.parametrize("set_to", [None, "0"])
def test_nothing_is_captured_where_it_was_not_asked_for(set_to, graphs, monkeypatch):
    monkeypatch.delenv(captured.SWITCH) if set_to is None else monkeypatch.setenv(captured.SWITCH, set_to)
    moved = moving(_rule("adam", RELU), 2)
    _stepped(moved)
    assert not graphs.counts and not moved.is_captured


def test_stacks_that_are_short_or_looked_at_at_every_step_are_not_captured(graphs):
    for steps in ([SETTLED], [*range(STEPS + 1)]):
        settings = settings_of(RELU, steps=steps[-1])
        settings["measure"] = {**settings["measure"], "steps": steps}
        moved = moving(settings, 2)
        for number in range(moved.points):
            _stepped(moved, number)
    assert not graphs.counts
