"""Lanes that diverge, collapse or cannot be computed: they end as what they are, and cost their neighbours nothing."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from nfa_kernels import names
from nfa_kernels.optimizers import OPTIMIZERS
from service.grid.canonical import canonical
from service.grid.stacking import stack_key
from service.grid.trial_settings import TrialSettings
from workers.blocks import COLLAPSED, EXPLODED, LAST_STEP, LOSS_BELOW, Lane, Stack
from workers.kept_weights import decoded
from workers.motion import Stepping
from workers.preparing import flushed_denormals
from workers.training import _Run, train

DATA = {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1]}


def lane(seed=0, **sections):
    document = {"data": DATA, "network": {"depth": 2, "width": 6}, "measure": {"steps": [0]}, **sections}
    return Lane(canonical(TrialSettings.model_validate(document)), seed)


def run(lanes, arrays=None):
    blocks = list(train(Stack(tuple(lanes), arrays or {})))
    network = pa.Table.from_batches([block.network for block in blocks])
    kept = {(lane, step): file for block in blocks for lane, step, file in block.weights}
    return network, {end.lane: end for block in blocks for end in block.ended}, kept


def imbalance_rate(dtype, rate, decay, steps, optimizer, **more):
    """Rate at which the imbalance decays, over twice the decay; from a tenth of the way on."""
    training = {"optimizer": optimizer, "learning_rate": rate, "weight_decay": decay, "steps": steps, "dtype": dtype}
    measure = {"steps": [steps // 10, steps], "metrics": ["imbalance"]}
    one = lane(data={**DATA, "samples": 40}, training=training | more, measure=measure, init={"scheme": "he"})
    network, _, _ = run([one])
    imbalance, times = network["imbalance"].to_numpy()[-2:], network["time"].to_numpy()[-2:]
    return math.log(imbalance[0] / imbalance[1]) / (times[1] - times[0]) / (2 * decay)


@pytest.mark.parametrize(("rate", "decay"), [(1e-3, 1e-4), (1e-3, 1e-5), (5e-3, 3e-5), (1e-2, 9e-3), (1e-2, 1.1e-2)])
def test_the_imbalance_of_a_float32_run_decays_as_fast_as_that_of_a_float64_run(rate, decay):
    exact, single = (imbalance_rate(dtype, rate, decay, 5_000, "gd") for dtype in ("float64", "float32"))
    assert exact == pytest.approx(1, rel=0.02)
    assert single == pytest.approx(exact, rel=0.002)


@pytest.mark.parametrize(("stages", "drop"), [(8, 0.1), (4, 0.01), (2, 1e-4)])
def test_the_last_stage_of_a_float32_run_decays_as_fast_as_that_of_a_float64_run(stages, drop):
    """There lr lambda is below 1e-6, far from 1e-3 of the first stage."""

    def rate(dtype):
        training = {"learning_rate": 0.02, "weight_decay": 0.06, "steps": 4_000, "dtype": dtype}
        training |= {"schedule": "step", "schedule_steps": 4_000 // stages, "schedule_factor": drop}
        measure = {"steps": [4_000 - 4_000 // stages, 4_000], "metrics": ["imbalance"]}
        network, _, _ = run([lane(data={**DATA, "samples": 40}, training=training, measure=measure)])
        imbalance, times = network["imbalance"].to_numpy()[-2:], network["time"].to_numpy()[-2:]
        return math.log(imbalance[0] / imbalance[1]) / (times[1] - times[0]) / (2 * 0.06)

    assert rate("float32") == pytest.approx(rate("float64"), rel=0.02)


def test_a_schedule_that_grows_beyond_all_numbers_ends_diverged():
    training = {"learning_rate": 0.1, "steps": 60, "schedule": "step", "schedule_steps": 1, "schedule_factor": 1e10}
    _, ends, _ = run([lane(training=training, measure={"steps": [0, 60]})])
    assert (ends[0].state, ends[0].reason) == ("diverged", EXPLODED)


ZEROS = {"data": {"x": np.zeros((4, 5)), "y": np.zeros((4, 2))}}


@pytest.mark.parametrize("optimizer", sorted(names.OPTIMIZERS.keys() - {"gradient_flow"}))
def test_decay_alone_moves_float32_weights_as_it_moves_float64_ones(optimizer):
    """On data without a gradient: by 1e-7 of the weights a step for rules that do not scale it up themselves."""

    def norms(dtype):
        training = {"optimizer": optimizer, "learning_rate": 1e-3, "weight_decay": 1e-4, "steps": 1_000, "dtype": dtype}
        if names.OPTIMIZERS[optimizer].minibatches == "required":
            training["batch_size"] = 2
        one = lane(training=training, measure={"steps": [0], "metrics": ["weight_norm"]})
        settings = {**one.settings, "data": {"kind": "uploaded", "dataset_id": "data"}}
        return run([Lane(settings, 0)], ZEROS)[0]["weight_norm"].to_numpy()

    (start, end), (first, last) = norms("float64"), norms("float32")
    assert end < start
    assert first - last == pytest.approx(start - end, rel=0.02)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
def test_what_a_running_mean_takes_of_a_square_is_rounded_once_in_float32(optimizer):
    """1 - 0.999 formed in float32 would be off by 5e-5."""
    weights, gradients = ((torch.full((1, 2, 3), value),) for value in (0.5, 0.3))
    numbers = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "rho": 0.999, "epsilon": 1e-8}
    hyper = {name: torch.full((1, 1, 1), value, dtype=torch.float64) for name, value in numbers.items()}
    rule = OPTIMIZERS[optimizer]
    moved, state = rule.step(weights, gradients, rule.init(weights), hyper)
    assert moved[0].dtype == torch.float32
    torch.testing.assert_close(state.square[0].double(), gradients[0].double() ** 2 * 1e-3, rtol=2e-7, atol=0)


def test_float32_trials_that_decay_weakly_are_stacked_apart_from_others():
    keys = [
        stack_key(lane(training={"dtype": dtype, "weight_decay": decay, "learning_rate": 1e-3}).settings)
        for dtype in ("float32", "float64")
        for decay in (0.0, 1e-4, 1e-2, 0.2)
    ]
    assert keys[1] == keys[2] != keys[0] == keys[3]
    assert keys[4] == keys[5] == keys[6] == keys[7]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_a_network_that_decays_to_nothing_ends_collapsed_and_its_neighbour_goes_on(activation, dtype):
    network = {"depth": 2, "width": 6, "activation": activation}
    training = {"learning_rate": 0.1, "steps": 6_000, "dtype": dtype}
    trials = [
        lane(seed, network=network, training=training | {"weight_decay": decay})
        for seed, decay in ((0, 5.0), (1, 0.01))
    ]
    network, ends, _ = run(trials)
    assert (ends[0].state, ends[0].reason, ends[1].reason) == ("completed", COLLAPSED, LAST_STEP)
    assert ends[0].step < 6_000 and ends[0].step % 64 == 0 and ends[1].step == 6_000
    own = network.filter(pc.field("lane") == 0)
    assert own["step"].to_pylist() == [0, ends[0].step], "its last row is where it ended"
    assert run(trials[:1])[1][0] == ends[0], "alone as in a stack"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_network_that_begins_near_the_saddle_grows_and_has_not_collapsed(dtype):
    scale = {"float64": 1e-160, "float32": 1e-22}[dtype]
    training = {"learning_rate": 0.1, "weight_decay": 0.001, "steps": 6_000, "dtype": dtype}
    network, ends, _ = run([lane(init={"scheme": "he", "scale": scale}, training=training)])
    assert (ends[0].state, ends[0].reason, ends[0].step) == ("completed", LAST_STEP, 6_000)
    assert network["relative_loss"].to_pylist()[-1] < 0.5


def test_a_layer_that_begins_at_zero_has_not_collapsed():
    training = {"learning_rate": 0.05, "steps": 500}
    network, ends, _ = run([lane(init={"scheme": "layer_scales", "first": 0.0, "last": 1.0}, training=training)])
    assert ends[0].reason == LAST_STEP and network["relative_loss"].to_pylist()[-1] < 0.5


@pytest.mark.parametrize(("dtype", "scale"), [("float64", 1e-155), ("float32", 1e-20)])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_no_denormal_number_is_formed_while_a_stack_moves(activation, dtype, scale):
    """Some processors take many times as long for them; benchmarks/denormals.py prints what one costs a stack here."""
    one = lane(
        network={"depth": 3, "width": 8, "activation": activation}, training={"dtype": dtype}, init={"scale": scale}
    )
    with torch.inference_mode():
        stack = _Run(Stack((one,)), torch.device("cpu"), 1e9)
        assert isinstance(stack.motion, Stepping)
        data = stack.motion._data

        def denormals():
            tiny = torch.finfo(data.dtype).tiny
            found = data.gradients(tuple(weight.to(data.dtype) for weight in stack.motion.weights))
            return sum(int(((gradient != 0) & (gradient.abs() < tiny)).sum()) for gradient in found)

        assert denormals() > 0, "otherwise this test shows nothing"
        with flushed_denormals():
            flushed = denormals()
        assert flushed == 0
        assert denormals() > 0, "and the thread's other work is left alone"


@pytest.mark.parametrize("rate", [5.0, 50.0])
def test_keeping_weights_moves_no_number_not_even_where_a_network_is_found_diverged(rate):
    training = {"learning_rate": rate, "steps": 500}
    plain = run([lane(training=training)])
    kept = run([lane(training=training, measure={"steps": [0], "weights": [64, 128, 500]})])
    assert plain[1][0] == kept[1][0] and plain[1][0].reason == EXPLODED
    for name in plain[0].column_names:
        np.testing.assert_array_equal(plain[0][name].to_numpy(), kept[0][name].to_numpy(), err_msg=name)


@pytest.mark.parametrize("steps", [0, 1, 70])
@pytest.mark.parametrize("scale", [1e200, 1e160])
@pytest.mark.parametrize("optimizer", ["gd", "adam", "gradient_flow"])
def test_a_loss_that_is_no_number_never_ends_completed(optimizer, scale, steps):
    training = {"optimizer": optimizer, "steps": steps, "horizon": 0.1, "stop": {"loss_below": 1e300}}
    _, ends, _ = run([lane(init={"scheme": "he", "scale": scale}, training=training, measure={"points": 3})])
    assert ends[0].state == "diverged"


def test_a_loss_below_the_threshold_is_why_a_trial_ends():
    training = {"learning_rate": 0.05, "steps": 4_000, "stop": {"loss_below": 0.5}}
    _, ends, _ = run([lane(training=training, measure={"every": 50})])
    assert (ends[0].state, ends[0].reason) == ("completed", LOSS_BELOW)


def test_given_biases_are_used_and_come_back():
    network, generator = {"depth": 2, "width": 6, "bias": True, "activation": "tanh"}, np.random.default_rng(0)
    shapes = {"w1": (6, 5), "w2": (2, 6), "b1": (6,), "b2": (2,)}
    arrays = {name: generator.standard_normal(shape) for name, shape in shapes.items()}
    settings = {**lane(network=network, training={"steps": 0}).settings}
    settings["init"] = {"scheme": "given", "scale": 1.0, "weights_id": "mine"}
    one = Lane(settings, 0)
    found, _, _ = run([one], {"mine": arrays})
    x, y = (part.numpy() for part in _samples())
    outputs = np.tanh(x @ arrays["w1"].T + arrays["b1"]) @ arrays["w2"].T + arrays["b2"]
    assert found["train_loss"].to_pylist() == [pytest.approx(0.5 * np.mean(np.sum((outputs - y) ** 2, 1)), rel=1e-12)]
    with pytest.raises(ValueError, match=r"b3, .*2 layers"):
        run([one], {"mine": arrays | {"b3": np.ones(2)}})
    without = Lane({**settings, "network": {**settings["network"], "bias": False}}, 0)
    with pytest.raises(ValueError, match=r"b1, b2.*network\.bias is false"):
        run([without], {"mine": arrays})


@pytest.mark.parametrize("decay", [0.0, 1e-4])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_kept_weights_that_are_given_back_have_the_loss_that_was_measured_to_the_last_bit(activation, dtype, decay):
    network = {"depth": 3, "width": 6, "bias": True, "activation": activation}
    training = {"learning_rate": 0.05, "weight_decay": decay, "steps": 70, "dtype": dtype}
    measure = {"steps": [70], "weights": [70], "metrics": ["train_loss", "alignment"]}
    first, _, kept = run([lane(network=network, training=training, measure=measure)])
    arrays, _ = decoded(kept[0, 70])
    assert sorted(arrays) == ["b1", "b2", "b3", "w1", "w2", "w3"] and abs(arrays["b1"]).max() > 0
    one = lane(network=network, training={**training, "steps": 0})
    again = Lane({**one.settings, "init": {"scheme": "given", "scale": 1.0, "weights_id": "kept"}}, 0)
    found, _, _ = run([again], {"kept": arrays})
    assert found["train_loss"].to_pylist() == first["train_loss"].to_pylist()[-1:]


def _samples():
    from nfa_kernels.data import make_data

    settings = {name: value for name, value in lane().settings["data"].items() if name not in ("kind", "seed")}
    made = make_data("linear_teacher", 0, **settings)
    return made.x, made.y


def test_a_stack_takes_no_more_memory_than_the_cost_model_says():
    """In a process of its own: 20,000 samples, minibatches, a test set; bound by 1.5 of the estimate."""
    document = {
        "data": {"samples": 20_000, "inputs": 10, "outputs": 4, "spectrum": [3, 2, 1.5, 1], "test_samples": 2_000},
        "network": {"depth": 4, "width": 64, "activation": "relu"},
        "training": {"optimizer": "sgd", "batch_size": 20, "learning_rate": 0.001, "steps": 130, "dtype": "float32"},
        "measure": {"steps": [0], "metrics": ["train_loss", "test_loss"]},
    }
    script = Path(__file__).with_name("memory_of_a_stack.py")
    command = [sys.executable, str(script), json.dumps(document), "24"]
    paths = os.environ | {"PYTHONPATH": str(script.parents[2])}
    found = json.loads(subprocess.run(command, env=paths, stdout=subprocess.PIPE, check=True).stdout)
    assert 0 < found["taken"] <= 1.5 * found["estimate"], found
