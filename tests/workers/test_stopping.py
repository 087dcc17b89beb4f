"""Trials that stop at what was measured: `training.stop`."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.blocks import Lane, Stack
from workers.training import train


def _lane(seed=0, stop=None, network=None, **training):
    document = {
        "data": {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 3, "width": 6} | (network or {}),
        "measure": {"every": 10, "layers": "all", "exponents": [0.25]},
        "training": {"steps": 400, "learning_rate": 0.05, "weight_decay": 0.05, "stop": stop} | training,
    }
    return Lane(canonical(TrialSettings.model_validate(document)), seed)


def _run(lanes, **options):
    blocks = list(train(Stack(tuple(lanes)), **options))
    network = pa.Table.from_batches([block.network for block in blocks])
    layers = pa.Table.from_batches([block.layers for block in blocks])
    return network, layers, {end.lane: end for block in blocks for end in block.ended}, blocks


def _values(table, lane, name, layer=None):
    chosen = table.filter(pc.field("lane") == lane)
    chosen = chosen if layer is None else chosen.filter(pc.field("layer") == layer)
    chosen = chosen.sort_by("step")
    return dict(zip(chosen["step"].to_pylist(), chosen[name].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("when", "layer", "least"),
    [
        ("final.alignment > 0.8 and final.train_loss < 1", 1, 0.8),
        ("final.alignment[2] > 0.9", 2, 0.9),
        ("final.alignment[2]   >0.9", 2, 0.9),
    ],
)
def test_a_trial_stops_where_a_measured_number_matches_first(when, layer, least):
    whole, stopped = _run([_lane()]), _run([_lane(stop={"when": when})])
    every, losses = _values(whole[1], 0, "alignment", layer), _values(whole[0], 0, "train_loss")
    first = min(step for step, value in every.items() if value > least and losses[step] < 1)
    assert 0 < first < 400
    end = stopped[2][0]
    assert (end.state, end.step, end.reason) == ("completed", first, "stop_when")
    assert _values(stopped[1], 0, "alignment", layer) == {step: every[step] for step in every if step <= first}


def test_settings_seeds_exponents_and_losses_stand_beside_each_other():
    when = "(final.alignment@0.25[2] >= 0.1 and final.train_loss < 0.5 and seed == 1) or training.momentum > 1"
    ends = _run([_lane(0, {"when": when}), _lane(1, {"when": when})])[2]
    assert ends[0].reason == "last_step" and ends[1].reason == "stop_when"


def _still(values, over, change):
    """The first step at which all values since the last one `over` steps back differ by no more."""
    for step in sorted(values):
        before = [one for one in values if one <= step - over]
        if before:
            window = [values[one] for one in values if max(before) <= one <= step]
            if max(window) - min(window) <= change:
                return step
    return None


@pytest.mark.parametrize(("over", "change"), [(50, 0.02), (45, 0.01), (10, 0.05)])
def test_a_trial_stops_where_a_metric_has_stayed_as_it_is(over, change):
    plateau = {"metric": "alignment", "layer": 2, "over": over, "change": change}
    whole, stopped = _run([_lane()]), _run([_lane(stop={"plateau": plateau})])
    first = _still(_values(whole[1], 0, "alignment", 2), over, change)
    assert first is not None and 0 < first < 400
    assert (stopped[2][0].step, stopped[2][0].reason) == (first, "plateau")


def test_a_trial_does_not_stop_before_the_step_that_it_has_to_reach():
    for stop in ({"when": "final.train_loss > 0"}, {"loss_below": 1e9}):
        assert _run([_lane(stop=stop)])[2][0].step == 0
        assert _run([_lane(stop=stop | {"at_least": 95})])[2][0].step == 100


def test_a_trial_that_reaches_its_last_step_has_ended_there():
    end = _run([_lane(stop={"when": "final.train_loss < 0"})])[2][0]
    assert (end.step, end.reason) == (400, "last_step")


def test_layers_of_graphs_are_asked_by_their_names():
    stop = {"when": "final.alignment[head] > 0"}
    data = {"kind": "resmlp", "depth": 2, "width": 4}
    names = {"layers": [{"linear": {"units": 4, "name": "first"}}, "relu", {"linear": {"name": "head"}}]}
    assert _run([_lane(stop=stop, network={"kind": "graph", **names})])[2][0].reason == "stop_when"
    with pytest.raises(ValueError):
        TrialSettings.model_validate({"training": {"stop": {"at_least": 3}}, "network": data})


@pytest.mark.parametrize(
    "stop",
    [
        {"when": "final.train_loss < 0.05"},
        {"plateau": {"metric": "train_loss", "over": 60, "change": 0.05}},
    ],
)
def test_a_lane_that_stops_harms_no_neighbour_and_each_has_the_numbers_of_its_own(stop):
    lanes = [_lane(seed, stop, learning_rate=rate) for seed, rate in ((0, 0.05), (1, 0.01), (2, 0.03))]
    together = _run(lanes)
    assert len({end.step for end in together[2].values()}) > 1
    for place, lane in enumerate(lanes):
        alone = _run([lane])
        assert alone[2][0][1:] == together[2][place][1:]
        own, there = _values(alone[0], 0, "train_loss"), _values(together[0], place, "train_loss")
        assert own.keys() == there.keys() and list(own.values()) == pytest.approx(list(there.values()), rel=1e-12)


@pytest.mark.parametrize(
    "stop",
    [
        {"when": "final.alignment[2] > 0.9 and final.train_loss < 0.02"},
        {"plateau": {"metric": "alignment", "layer": 2, "over": 50, "change": 0.02}, "at_least": 30},
    ],
)
def test_a_trial_that_goes_on_from_a_checkpoint_stops_where_it_would_have(stop):
    lanes = [_lane(0, stop), _lane(1, stop)]
    network, _, ends, blocks = _run(lanes, block_seconds=0.0, checkpoint_seconds=0.0)
    saved = [block.checkpoints for block in blocks if len(block.checkpoints) == 2]
    assert len(saved) > 4
    for checkpoints in (saved[1], saved[len(saved) // 2], saved[-1]):
        step = checkpoints[0][1]
        again = [Lane(lanes[lane].settings, lanes[lane].seed, file) for lane, _, file in checkpoints]
        found = _run(again)
        assert {lane: end[1:] for lane, end in found[2].items()} == {lane: end[1:] for lane, end in ends.items()}
        for lane in (0, 1):
            rest = {at: one for at, one in _values(network, lane, "train_loss").items() if at > step}
            assert {at: one for at, one in _values(found[0], lane, "train_loss").items() if at > step} == rest


def test_a_flow_stops_at_a_measured_time():
    flow = {"optimizer": "gradient_flow", "horizon": 5.0}
    document = {"measure": {"points": 20}, "training": flow | {"stop": {"when": "final.train_loss < 0.8"}}}
    lane = Lane(canonical(TrialSettings.model_validate({"network": {"width": 4}, **document})), 0)
    network, _, ends, _ = _run([lane])
    losses = list(_values(network, 0, "train_loss").values())
    assert ends[0].reason == "stop_when" and losses[-1] < 0.8 <= losses[-2]
