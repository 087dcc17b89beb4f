"""Training a stack: its lanes are the same alone and together, and each ends as it should."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from nfa_kernels import names
from service.grid.canonical import canonical
from service.grid.measured_steps import measured_steps
from service.grid.trial_settings import TrialSettings
from workers.blocks import Lane, Stack
from workers.training import _Run, train

RELU = {"depth": 3, "width": 6, "activation": "relu"}


def _lane(seed=0, **training):
    sections = {name: training.pop(name) for name in ("data", "network", "init", "measure") if name in training}
    document = {
        "data": {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 3, "width": 6},
        "measure": {"points": 12, "layers": "all", "exponents": [0.25]},
    }
    settings = TrialSettings.model_validate({**document, **sections, "training": {"steps": 100} | training})
    return Lane(canonical(settings), seed)


def _run(lanes, **options):
    blocks = list(train(Stack(tuple(lanes)), **options))
    assert [block.last for block in blocks] == [False] * (len(blocks) - 1) + [True]
    network = pa.Table.from_batches([block.network for block in blocks])
    layers = pa.Table.from_batches([block.layers for block in blocks])
    return network, layers, {end.lane: end for block in blocks for end in block.ended}


def _of_lane(table, lane):
    chosen = table.filter(pc.field("lane") == lane).drop_columns("lane").sort_by("step")
    return {name: chosen[name].to_numpy() for name in chosen.column_names}


def _assert_same(one, other, rtol=1e-12):
    assert set(one) == set(other)
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], rtol=rtol, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
@pytest.mark.parametrize("optimizer", names.OPTIMIZERS)
def test_a_stack_equals_its_members_trained_alone(optimizer, activation):
    more = {"batch_size": 7} if names.OPTIMIZERS[optimizer].minibatches == "required" else {}
    network = {"depth": 3, "width": 6, "activation": activation}
    lanes = [
        _lane(seed, optimizer=optimizer, learning_rate=rate, weight_decay=decay, steps=120, network=network, **more)
        for seed, rate, decay in ((0, 0.02, 0.0), (1, 0.01, 0.1), (0, 0.005, 0.3))
    ]
    together = _run(lanes)
    for index, lane in enumerate(lanes):
        alone = _run([lane])
        for table, other in zip(together[:2], alone[:2], strict=True):
            _assert_same(_of_lane(table, index), _of_lane(other, 0))


@pytest.mark.parametrize("batches", [{}, {"optimizer": "sgd", "batch_size": 7}])
@pytest.mark.parametrize("activation", ["linear", "tanh"])
@pytest.mark.parametrize(
    ("loss", "number", "values"),
    [("huber", "huber_delta", (0.1, 1, 50)), ("cross_entropy", "label_smoothing", (0.0, 0.1, 0.5))],
)
def test_lanes_of_one_stack_may_differ_in_the_number_of_their_loss(loss, number, values, activation, batches):
    sections = {"network": {"depth": 3, "width": 6, "activation": activation}}
    if loss == "cross_entropy":
        sections["data"] = {"kind": "iris", "test_fraction": 0.2}
    lanes = [_lane(1, loss=loss, steps=60, **{number: value}, **batches, **sections) for value in values]
    together = _run(lanes)
    for index, lane in enumerate(lanes):
        for table, other in zip(together[:2], _run([lane])[:2], strict=True):
            _assert_same(_of_lane(table, index), _of_lane(other, 0))
    losses = [_of_lane(together[0], index)["train_loss"][-1] for index in range(3)]
    assert len(set(losses)) == 3


def test_permuting_a_stack_permutes_its_results():
    lanes = [_lane(seed, weight_decay=0.1 * seed) for seed in range(4)]
    order = [2, 0, 3, 1]
    plain, permuted = _run(lanes), _run([lanes[index] for index in order])
    for place, index in enumerate(order):
        _assert_same(_of_lane(permuted[1], place), _of_lane(plain[1], index), rtol=1e-13)


@pytest.mark.parametrize(
    "measure", [{"points": 12}, {"every": 30}, {"steps": [0, 7, 50]}, {"points": 5, "spacing": "linear"}]
)
def test_rows_are_at_the_measured_steps_and_the_last_step_is_one_of_them(measure):
    lane = _lane(measure=measure)
    network, layers, ends = _run([lane])
    steps = measured_steps(lane.settings)
    assert network["step"].to_pylist() == layers["step"].to_pylist() == steps
    assert steps[-1] == 100
    assert (ends[0].state, ends[0].step) == ("completed", 100)
    np.testing.assert_allclose(network["time"].to_numpy(), 0.02 * np.array(steps), rtol=1e-13)


def test_zero_steps_measure_the_initial_weights():
    network, _, ends = _run([_lane(steps=0)])
    assert network["step"].to_pylist() == [0]
    assert ends[0].state == "completed"


def test_a_diverging_lane_ends_at_its_step_and_its_neighbours_go_on_as_if_alone():
    lanes = [_lane(0), _lane(0, learning_rate=50.0), _lane(1)]
    network, layers, ends = _run(lanes)
    assert [ends[lane].state for lane in range(3)] == ["completed", "diverged", "completed"]
    steps = _of_lane(network, 1)["step"]
    assert steps[-1] == ends[1].step < 100
    for index in (0, 2):
        _assert_same(_of_lane(layers, index), _of_lane(_run([lanes[index]])[1], 0))


def test_divergence_between_measured_steps_is_found_at_a_step_that_does_not_depend_on_the_stack():
    measure = {"steps": [0]}
    together = _run([_lane(0, measure=measure, steps=500), _lane(0, learning_rate=5.0, measure=measure, steps=500)])
    alone = _run([_lane(0, learning_rate=5.0, measure=measure, steps=500)])
    assert together[2][1].step == alone[2][0].step == 64
    assert _of_lane(together[0], 1)["step"].tolist() == [0, 64]


def test_dropped_lanes_end_without_a_word_and_an_empty_stack_stops():
    lanes = [_lane(seed, steps=400, measure={"every": 1}) for seed in range(3)]
    dropped = set()

    def stopped():
        return frozenset(dropped)

    stream = train(Stack(tuple(lanes)), block_seconds=0.0, stopped=stopped)
    next(stream)
    dropped.add(1)
    blocks = list(stream)
    ends = {end.lane: end.state for block in blocks for end in block.ended}
    assert ends == {0: "completed", 2: "completed"}
    dropped |= {0, 2}
    assert [block.last for block in train(Stack(tuple(lanes)), stopped=stopped)][-1]


def test_blocks_are_yielded_about_as_often_as_asked():
    blocks = list(train(Stack((_lane(steps=20_000),)), block_seconds=0.002))
    assert len(blocks) > 3
    assert sum(block.lane_steps for block in blocks) == 20_000


def test_a_trial_stops_below_its_loss():
    lanes = [_lane(0, stop={"loss_below": 1e9}), _lane(1, stop={"loss_below": 1e9})]
    assert all(end.step == 0 for end in _run(lanes)[2].values())
    low = _run([_lane(0, stop={"loss_below": 0.5}, steps=2000)])
    assert 0 < low[2][0].step < 2000
    losses = low[0]["train_loss"].to_numpy()
    assert losses[-1] < 0.5 <= losses[-2]


def test_a_schedule_multiplies_the_learning_rate_and_time_is_its_sum():
    constant, warm = _run([_lane(steps=40)]), _run([_lane(steps=40, schedule="warmup", schedule_steps=10)])
    assert constant[0]["time"].to_pylist()[-1] == pytest.approx(40 * 0.02)
    assert warm[0]["time"].to_pylist()[-1] == pytest.approx(0.02 * (5.5 + 30))


def test_float32_training_follows_float64_and_metrics_keep_full_precision():
    single, double = _run([_lane(dtype="float32")]), _run([_lane()])
    one, other = _of_lane(single[1], 0), _of_lane(double[1], 0)
    np.testing.assert_allclose(one["alignment"], other["alignment"], rtol=1e-4)
    assert not np.array_equal(one["alignment"], other["alignment"])
    # layer 3 is the last: its own matrix is its factor, an identity that float32 metrics would blur
    last = one["layer"] == 3
    assert np.abs(1 - one["alignment_one"][last]).max() < 1e-12


def test_float32_measuring_follows_float64_and_does_not_depend_on_the_stack():
    measure = {"points": 12, "layers": "all", "exponents": [0.25]}
    double, single = (
        [_lane(seed, dtype="float32", network=RELU, measure=measure | {"dtype": dtype}) for seed in (0, 1)]
        for dtype in ("float64", "float32")
    )
    exact, together = _run(double), _run(single)
    for index, lane in enumerate(single):
        alone, found = _of_lane(_run([lane])[1], 0), _of_lane(together[1], index)
        np.testing.assert_allclose(found["alignment"], alone["alignment"], rtol=1e-6)
        np.testing.assert_allclose(found["alignment"], _of_lane(exact[1], index)["alignment"], rtol=1e-5)
    assert not together[1].equals(exact[1])
    assert {end.state for end in together[2].values()} == {"completed"}


def test_exponents_asked_for_are_measured_beside_the_others():
    blocks = list(train(Stack((_lane(),))))
    rows = pa.Table.from_batches([block.parametrised for block in blocks])
    assert set(rows["name"].to_pylist()) == {"alignment@0.25"}
    assert rows.num_rows == 3 * len(measured_steps(_lane().settings))


def test_given_weights_and_uploaded_data_are_taken_from_the_stacks_arrays():
    rng = np.random.default_rng(0)
    arrays = {
        "weights": {"w1": rng.normal(size=(4, 5)), "w2": rng.normal(size=(2, 4))},
        "data": {"x": rng.normal(size=(9, 5)), "y": rng.normal(size=(9, 2))},
    }
    settings = {
        **_lane().settings,
        "data": {"kind": "uploaded", "dataset_id": "data"},
        "network": {"depth": 2, "bias": False, "parameterization": "standard", "activation": "linear", "width": [4]},
        "init": {"scheme": "given", "scale": 1.0, "weights_id": "weights"},
        "training": {**_lane().settings["training"], "steps": 0},
        "measure": {"layers": [1], "metrics": ["train_loss"], "steps": [0]},
    }
    network, _, _ = _run_stack(Stack((Lane(settings, 0),), arrays))
    predicted = arrays["data"]["x"] @ arrays["weights"]["w1"].T @ arrays["weights"]["w2"].T
    wanted = 0.5 * np.mean(np.sum((predicted - arrays["data"]["y"]) ** 2, axis=1))
    assert network["train_loss"].to_pylist() == [pytest.approx(wanted, rel=1e-12)]


def test_a_fully_connected_network_reads_an_image_as_the_row_of_its_numbers():
    measure = {"points": 3, "metrics": ["alignment", "test_loss", "accuracy"]}
    flat, image = (
        _lane(
            data={"kind": "digits", "layout": layout, "samples": 30, "test_samples": 5}, network=RELU, measure=measure
        )
        for layout in ("flat", "image")
    )
    (network, layers, ends), (of_images, layers_of_images, _) = _run([flat]), _run([image])
    assert network.equals(of_images) and layers.equals(layers_of_images) and ends[0].state == "completed"


def test_uploaded_images_are_trained_on_and_split_by_the_seed():
    rng = np.random.default_rng(0)
    arrays = {"data": {"x": rng.normal(size=(10, 1, 2, 2)), "y": rng.normal(size=(10, 1))}}
    data = {"kind": "uploaded", "dataset_id": "data", "test_fraction": 0.3, "seed": None}
    settings = {**_lane(steps=0, measure={"steps": [0], "metrics": ["test_loss"]}).settings, "data": data}
    losses = _run_stack(Stack((Lane(settings, 0), Lane(settings, 1)), arrays))[0]["test_loss"].to_pylist()
    assert losses[0] != losses[1] and np.isfinite(losses).all()


def _run_stack(stack):
    blocks = list(train(stack))
    return pa.Table.from_batches([block.network for block in blocks]), None, None


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="only MKL promises the same bits")
@pytest.mark.parametrize("activation", names.ACTIVATIONS)
@pytest.mark.parametrize("optimizer", [*names.OPTIMIZERS, "sgd, wider than its batch"])
def test_a_network_has_the_same_bits_alone_and_in_a_stack(optimizer, activation):
    optimizer, _, is_wide = optimizer.partition(", ")
    more = {"batch_size": 7} if names.OPTIMIZERS[optimizer].minibatches == "required" else {}
    network = {"depth": 3, "width": 33 if is_wide else 7, "activation": activation, "bias": not is_wide}
    lanes = [
        _lane(
            seed,
            optimizer=optimizer,
            learning_rate=0.003,
            steps=40,
            horizon=0.01,
            network=network,
            init={"scale": 0.4},
            **more,
        )
        for seed in (0, 1, 2)
    ]

    def weights(of):
        run = _Run(Stack(tuple(of)), torch.device("cpu"), 1e9)
        for number in range(run.motion.points):
            while not run.motion.reached(number):
                run.motion.advance(number)
        return run.motion.weights

    with torch.inference_mode():
        together = weights(lanes)
        for index, lane in enumerate(lanes):
            for one, other in zip(together, weights([lane]), strict=True):
                assert torch.equal(one[index], other[0])
