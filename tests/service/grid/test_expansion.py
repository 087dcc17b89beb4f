"""Expansion of grids: order, duplicates, counts."""

import contextlib
import gc
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidGrid
from service.grid import building, canonical
from service.grid.data_shapes import DataShape
from service.grid.expansion import Expansion, expand
from service.grid.fitting import Limits
from service.grid.outline import dataset_ids
from service.grid.sections import SectionValue, validate_section
from service.grid.trial_settings import TrialSettings

VALUES = {
    "network.depth": st.integers(1, 5),
    "network.width": st.one_of(st.integers(1, 9)),
    "training.weight_decay": st.sampled_from([0, 0.0, 0.1, 0.2, 1]),
    "training.learning_rate": st.sampled_from([0.1, 0.01, 1]),
    "training.optimizer": st.sampled_from(["gd", "adam", "momentum"]),
    "training.beta1": st.sampled_from([0.8, 0.9]),
    "init.scheme": st.sampled_from(["he", "xavier", "balanced"]),
    "data.noise": st.sampled_from([0, 0.5]),
    "measure.points": st.integers(1, 5),
}


@st.composite
def axes(draw: st.DrawFn) -> dict[str, list]:
    paths = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=4))
    return {path: draw(st.lists(VALUES[path], min_size=1, max_size=4)) for path in paths}


@st.composite
def grids(draw: st.DrawFn) -> dict:
    varied = draw(axes())
    zipped = {}
    if len(varied) >= 2 and draw(st.booleans()):
        moving = list(varied)[-2:]
        length = min(len(varied[path]) for path in moving)
        zipped = {path: varied.pop(path)[:length] for path in moving}
    seeds = draw(st.one_of(st.integers(1, 3), st.lists(st.integers(0, 9), unique=True, min_size=1, max_size=3)))
    return {"axes": varied, "zip": [zipped] if zipped else [], "seeds": seeds}


def nested(point: dict) -> dict:
    """Dotted paths as the trial block they stand for."""
    block: dict = {}
    for path, value in point.items():
        section, field = path.split(".")
        block.setdefault(section, {})[field] = value
    return block


def reference(grid: dict) -> list[tuple[dict, int]]:
    """The product spelt out: (canonical settings, seed) in order, with repetitions."""
    factors = [[{path: value} for value in values] for path, values in grid["axes"].items()]
    factors += [
        [dict(zip(group, row, strict=True)) for row in zip(*group.values(), strict=True)] for group in grid["zip"]
    ]
    seeds = range(grid["seeds"]) if isinstance(grid["seeds"], int) else grid["seeds"]
    found = []
    for parts in itertools.product(*factors):
        merged = {path: value for part in parts for path, value in part.items()}
        form = canonical.canonical(TrialSettings.model_validate(nested(merged)))
        found += [(form, seed) for seed in seeds]
    return found


def trials(expansion: Expansion) -> list[tuple[str, int]]:
    return [(canonical.settings_digest(point.settings), seed) for _, point, seed, _ in expansion.trials()]


@given(grids())
@settings(max_examples=150, deadline=None)
def test_expansion_is_the_product_in_written_order_without_repetitions(grid: dict) -> None:
    expected = dict.fromkeys((canonical.settings_digest(form), seed) for form, seed in reference(grid))
    assert trials(expand(grid)) == list(expected)


@given(grids())
@settings(max_examples=100, deadline=None)
def test_a_grid_counts_exactly_the_trials_it_yields(grid: dict) -> None:
    expansion = expand(grid)
    found = list(expansion.trials())
    assert len(expansion) == len(found) == len({fingerprint for *_, fingerprint in found})
    assert [position for position, *_ in found] == list(range(len(found)))


@given(grids(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_keys_in_the_trial_block_changes_nothing(grid: dict, random) -> None:
    block = TrialSettings().model_dump(mode="json")
    block["measure"] = {"layers": "all"}

    def shuffled(mapping: dict) -> dict:
        items = list(mapping.items())
        random.shuffle(items)
        return {key: shuffled(value) if isinstance(value, dict) else value for key, value in items}

    plain, mixed = expand({**grid, "trial": block}), expand({**grid, "trial": shuffled(block)})
    assert list(plain.trials()) == list(mixed.trials())


@given(grids())
@settings(max_examples=50, deadline=None)
def test_every_fingerprint_is_that_of_its_settings_and_seed(grid: dict) -> None:
    for _, point, seed, fingerprint in expand(grid).trials():
        assert fingerprint == canonical.fingerprint(point.settings, seed)
        assert point.digest == canonical.settings_digest(json.loads(json.dumps(point.settings)))


def test_an_empty_grid_is_one_trial_with_the_defaults() -> None:
    expansion = expand({})
    assert len(expansion) == 1
    assert expansion.points[0].settings == canonical.canonical(TrialSettings())
    assert expansion.seeds == (0,)


def test_seeds_run_innermost_and_the_last_axis_before_them() -> None:
    expansion = expand({"axes": {"network.depth": [3, 2], "training.weight_decay": [0, 0.1]}, "seeds": [7, 5]})
    order = [
        (point.axes["network.depth"], point.axes["training.weight_decay"], seed)
        for _, point, seed, _ in expansion.trials()
    ]
    assert order == list(itertools.product([3, 2], [0.0, 0.1], [7, 5]))
    assert expansion.axes == {"network.depth": [3, 2], "training.weight_decay": [0.0, 0.1]}


def test_zip_moves_its_paths_together_after_the_axes() -> None:
    expansion = expand(
        {"axes": {"network.depth": [2, 3]}, "zip": [{"network.width": [16, 32], "training.steps": [6000, 3000]}]}
    )
    assert [tuple(point.axes.values()) for point in expansion.points] == [
        (2, 16, 6000),
        (2, 32, 3000),
        (3, 16, 6000),
        (3, 32, 3000),
    ]


def test_an_axis_over_a_section_is_merged_over_the_trial_block() -> None:
    expansion = expand(
        {
            "trial": {"training": {"weight_decay": 0.05, "learning_rate": 0.5}},
            "axes": {"training": [{"optimizer": "gd"}, {"optimizer": "sgd", "batch_size": 20, "learning_rate": 0.01}]},
        }
    )
    gd, sgd = (point.settings["training"] for point in expansion.points)
    assert (gd["optimizer"], gd["learning_rate"], gd["weight_decay"]) == ("gd", 0.5, 0.05)
    assert (sgd["optimizer"], sgd["learning_rate"], sgd["weight_decay"], sgd["batch_size"]) == ("sgd", 0.01, 0.05, 20)
    assert expansion.axes["training.batch_size"] == [None, 20]


def test_exclude_drops_the_points_that_match_all_its_keys() -> None:
    grid = {"axes": {"network.depth": [2, 4], "training.weight_decay": [0, 0.02]}}
    kept = expand({**grid, "exclude": [{"network.depth": 4, "training.weight_decay": 0.02}]})
    assert [tuple(point.axes.values()) for point in kept.points] == [(2, 0.0), (2, 0.02), (4, 0.0)]


def test_exclude_compares_with_defaults_and_with_zero_written_either_way() -> None:
    kept = expand(
        {
            "axes": {"training.weight_decay": [0, 0.1], "network.depth": [2, 3]},
            "exclude": [{"training.weight_decay": 0.0, "training.optimizer": "gd", "network": {"depth": 2}}],
        }
    )
    assert [tuple(point.axes.values()) for point in kept.points] == [(0.0, 3), (0.1, 2), (0.1, 3)]


def test_exclude_may_drop_combinations_that_would_be_refused() -> None:
    grid = {"trial": {"init": {"scheme": "layer_scales"}}, "axes": {"network.depth": [1, 2]}}
    with pytest.raises(InvalidGrid):
        expand(grid)
    assert len(expand({**grid, "exclude": [{"network.depth": 1}]})) == 1


def test_exclude_that_matches_nothing_is_told() -> None:
    assert "exclude[0]" in expand({"exclude": [{"network.depth": 9}]}).ignored


def test_include_adds_the_trial_block_plus_its_keys_times_seeds() -> None:
    expansion = expand(
        {
            "trial": {"training": {"weight_decay": 0.5}},
            "axes": {"network.depth": [2], "training.weight_decay": [0]},
            "include": [{"network.depth": 6}],
            "seeds": 2,
        }
    )
    assert len(expansion) == 4
    assert expansion.points[1].axes == {"network.depth": 6, "training.weight_decay": 0.5}


def test_an_included_point_that_the_product_has_is_not_added_again() -> None:
    assert len(expand({"axes": {"network.depth": [2, 3]}, "include": [{"network.depth": 3}]})) == 2


def test_ranges_become_lists_with_exact_ends() -> None:
    axis = expand({"axes": {"training.learning_rate": {"log": [0.001, 0.1, 5]}}}).axes["training.learning_rate"]
    assert axis[0] == 0.001 and axis[2] == 0.01 and axis[-1] == 0.1 and len(axis) == 5
    axis = expand({"axes": {"network.depth": {"linear": [2, 6, 5]}}}).axes["network.depth"]
    assert axis == [2, 3, 4, 5, 6]
    assert expand({"axes": {"network.width": {"log": [16, 256, 5]}}}).axes["network.width"] == [16, 32, 64, 128, 256]


def test_values_that_no_variant_reads_are_named_and_make_no_trials() -> None:
    expansion = expand({"trial": {"init": {"first": 3}}, "axes": {"training.beta1": [0.8, 0.9]}})
    assert len(expansion) == 1
    assert set(expansion.ignored) == {"init.first", "training.beta1"}


def test_the_device_is_read_although_it_is_no_part_of_a_trial() -> None:
    one, other = (expand({"trial": {"training": {"device": device}}}) for device in ("cpu", "gpu"))
    assert one.ignored == ()
    assert [f for *_, f in one.trials()] == [f for *_, f in other.trials()]


def test_presentation_is_no_part_of_a_trial() -> None:
    plain = expand({})
    dressed = expand(
        {
            "name": "a",
            "tags": ["t"],
            "priority": 5,
            "notes": "n",
            "claims": [{"id": "c", "metric": "alignment", "every_trial": ">= 0"}],
        }
    )
    assert list(plain.trials()) == list(dressed.trials())


def test_shapes_of_uploaded_data_decide_what_fits() -> None:
    grid = {
        "trial": {"data": {"kind": "uploaded", "dataset_id": "ab"}, "training": {"optimizer": "sgd", "batch_size": 9}}
    }
    assert dataset_ids(grid) == {"ab"}
    assert expand(grid, datasets={"ab": {"x": (10, 3), "y": (10, 2)}}).points[0].shape == DataShape(10, (3,), 2, 0)
    with pytest.raises(InvalidGrid, match="larger than the 8 training samples"):
        expand(grid, datasets={"ab": {"x": (8, 3), "y": (8, 2)}})


def test_a_billion_trials_are_refused_at_once(calls) -> None:
    thousand = list(range(1, 1001))
    grid = {"axes": {"network.depth": thousand, "data.samples": thousand, "data.inputs": thousand}}

    def refused(document: dict) -> None:
        with pytest.raises(InvalidGrid, match="1000000000 trials are over the limit of 100000"):
            expand(document)

    # the three thousand values are read, the points are not
    assert calls(lambda: refused(grid)) < 100_000
    assert calls(lambda: refused({**grid, "exclude": [{"network.depth": 1}]})) < 100_000


def test_the_limit_counts_what_exclude_leaves() -> None:
    limits = Limits(trials_per_experiment=2)
    grid = {"axes": {"network.depth": [1, 2, 3]}, "exclude": [{"network.depth": 1}]}
    assert len(expand(grid, limits)) == 2
    with pytest.raises(InvalidGrid, match="3 trials are over the limit of 2"):
        expand({"axes": grid["axes"]}, limits)


def test_work_grows_with_the_points_and_a_section_is_validated_once(calls) -> None:
    def per_point(points: int, **axes: int) -> float:
        written = {path.replace("__", "."): {"linear": [0.001, 0.1, count]} for path, count in axes.items()}
        found: list[Expansion] = []
        counted = calls(lambda: found.append(expand({"axes": written})))
        assert len(found[0].points) == points
        return counted / points

    few = per_point(500, training__learning_rate=10, training__weight_decay=50)
    many = per_point(5000, training__learning_rate=100, training__weight_decay=50)
    assert many < 1.1 * few
    # as many points, of a hundred sections instead of 5000
    assert per_point(5000, training__learning_rate=50, data__noise=50, init__scale=2) < 0.9 * many


@pytest.mark.parametrize(
    ("path", "most"),
    [
        *(("training.learning_rate", 140), ("training.steps", 140), ("data.noise", 140), ("init.scale", 140)),
        # every point is a stack of its own
        ("measure.points", 280),
    ],
)
def test_a_point_that_differs_in_a_free_number_is_not_validated(calls, monkeypatch, path: str, most: int) -> None:
    validated: list[str] = []

    def counting(name: str, *arguments: Any) -> SectionValue:
        validated.append(name)
        return validate_section(name, *arguments)

    monkeypatch.setattr(building, "validate_section", counting)
    values = [index + 1 for index in range(1_000)]
    assert calls(lambda: expand({"axes": {path: values}})) < 1_000 * most
    assert len(validated) == 5


def test_points_that_are_dropped_cost_next_to_nothing(calls) -> None:
    """Ninety thousand are looked at as the three hundred values of each axis, two axes together as their pairs."""
    values = [index + 1 for index in range(300)]
    axes = {"training.steps": values, "training.learning_rate": values}
    exclude = [{"training.steps": step} for step in values[1:]]
    limits = Limits(trials_per_experiment=10_000)
    assert calls(lambda: expand({"axes": axes, "exclude": exclude}, limits)) < 100_000
    exclude = [{"training.steps": step, "training.learning_rate": step} for step in values]

    def refused() -> None:
        with pytest.raises(InvalidGrid, match="89700 trials are over the limit of 10000"):
            expand({"axes": axes, "exclude": exclude}, limits)

    assert calls(refused) < 600_000


def test_settings_that_cannot_be_hashed_in_time_are_refused_before_they_are(calls) -> None:
    grid = {
        "trial": {"measure": {"steps": {"linear": [0, 99_999, 100_000]}}, "training": {"steps": 100_000}},
        "axes": {"training.learning_rate": {"linear": [0.001, 0.1, 1_000]}},
    }

    def refused() -> None:
        with pytest.raises(InvalidGrid, match="more than 1,000,000,000 characters: take fewer trials, or shorter"):
            expand(grid)

    assert calls(refused) < 1_000_000


def test_more_different_sizes_than_can_be_looked_at_are_refused_before_any_is(calls) -> None:
    grid = {"axes": {"data.samples": list(range(1, 301)), "network.width": list(range(1, 112))}}

    def refused() -> None:
        with pytest.raises(
            InvalidGrid,
            match="33711 points and sections differ in settings that decide about others, over the limit of",
        ):
            expand(grid)

    assert calls(refused) < 20_000
    # of these only the sizes decide, and as many points as may be are left
    few = {"axes": {"data.samples": list(range(10, 15)), "training.learning_rate": {"linear": [0.001, 0.1, 5_000]}}}
    assert len(expand(few)) == 25_000
    assert len(expand({**grid, "exclude": [{"data.samples": count} for count in range(2, 301)]})) == 111


@pytest.mark.parametrize("grid", [{}, {"axes": {"network.depth": [0]}}])
def test_python_looks_for_garbage_again_after_an_expansion_however_it_ends(grid: dict) -> None:
    for was_on in (True, False):
        (gc.enable if was_on else gc.disable)()
        try:
            with contextlib.suppress(InvalidGrid):
                expand(grid)
            assert gc.isenabled() == was_on
        finally:
            gc.enable()


def test_more_graphs_than_can_be_built_in_time_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(building, "MAX_LAYERS_READ", 100)
    network = {"kind": "resmlp", "depth": 3}
    assert len(expand({"trial": {"network": network}, "axes": {"network.width": list(range(4, 14))}})) == 10
    with pytest.raises(InvalidGrid, match="of other kinds than mlp have more than 100 layers together: vary fewer"):
        expand({"trial": {"network": network}, "axes": {"network.width": list(range(4, 15))}})
    assert len(expand({"axes": {"network.width": list(range(4, 64))}})) == 60


def test_layers_with_numbers_of_their_own_are_counted_with_lists_of_numbers() -> None:
    layers = {str(layer): {"learning_rate": 0.1 * layer} for layer in range(1, 65)}
    grid = {"trial": {"network": {"depth": 64}, "training": {"layers": layers, "schedule": "warmup"}}}
    few, many = ({"training.schedule_steps": {"linear": [1, count, count]}} for count in (10, 1_100))
    assert len(expand({**grid, "axes": few})) == 10
    with pytest.raises(
        InvalidGrid, match="hold more than 2,000,000: take fewer points, or shorter lists; a layer's own"
    ):
        expand({**grid, "axes": many})
    rates = {"training.learning_rate": {"linear": [0.01, 1, 1_100]}}
    assert len(expand({**grid, "axes": rates})) == 1_100
