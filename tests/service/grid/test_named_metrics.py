"""Metrics that are measured where they are named alone: what they cost, and that no other grid notices them."""

import pytest

from nfa_kernels import names
from service.errors import InvalidGrid
from service.grid import cost
from service.grid.expansion import expand
from service.grid.fitting import Limits

NAMED = [name for name, metric in names.METRICS.items() if metric.only_named]
COSTLY = ["sharpness", "ntk_alignment", "ntk_movement"]
KINDS = {
    "mlp": {"kind": "mlp", "depth": 3, "width": 20, "activation": "tanh"},
    "linear": {"kind": "mlp", "depth": 3, "width": 20},
    "resmlp": {"kind": "resmlp", "depth": 3, "width": 20},
}


def _point(network: str = "mlp", samples: int = 200, **measure: object):
    data = {"kind": "linear_teacher", "samples": samples, "inputs": 12}
    grid = {"name": "g", "trial": {"data": data, "network": KINDS[network], "measure": measure}, "seeds": 1}
    (point,) = expand(grid).points
    return point


def _seconds(point) -> float:
    return cost.stack_seconds(point.settings, point.shape, 4)


def test_neither_default_nor_all_asks_for_them():
    for chosen in ("default", "all"):
        assert not {*NAMED}.intersection(_point(metrics=chosen).settings["measure"]["metrics"])
    assert "generalisation_gap" in _point(metrics="all").settings["measure"]["metrics"]
    assert NAMED and all(name in _point(metrics=[name]).settings["measure"]["metrics"] for name in NAMED)


@pytest.mark.parametrize("network", KINDS)
@pytest.mark.parametrize("metric", COSTLY)
def test_the_costly_ones_are_counted(network, metric):
    plain, asked = (_point(network, metrics=metrics) for metrics in (["alignment"], ["alignment", metric]))
    assert _seconds(asked) > _seconds(plain)
    more, fewer = (_point(network, samples, metrics=[metric]) for samples in (4000, 200))
    # a product of matrices is measured on a few equivalent samples
    assert _seconds(more) >= _seconds(fewer) if network == "linear" else _seconds(more) > _seconds(fewer)


@pytest.mark.parametrize("metric", COSTLY)
@pytest.mark.parametrize("network", KINDS)
def test_a_network_whose_measurement_does_not_fit_is_refused_with_what_it_takes(network, metric):
    def expanded(metrics: list[str], limits: Limits):
        data = {"kind": "linear_teacher", "samples": 200, "inputs": 12}
        measure = {"metrics": metrics}
        grid = {"name": "g", "trial": {"data": data, "network": KINDS[network], "measure": measure}, "seeds": 1}
        return expand(grid, limits=limits)

    plain = _point(network, metrics=["alignment"])
    limits = Limits(bytes_per_network=cost.lane_bytes(plain.settings, plain.shape) + 1_000)
    assert len(expanded(["alignment"], limits)) == 1
    with pytest.raises(InvalidGrid, match="training one network takes about"):
        expanded([metric], limits)


def test_members_of_families_stand_in_one_order_whatever_the_grid_says():
    asked = [
        "teacher_overlap@10",
        "gram_agop_subspace@2",
        "teacher_overlap@2",
        "agop_singular_value@1",
        "alignment@0.5",
    ]
    for order in (asked, asked[::-1]):
        measure = _point(metrics=order).settings["measure"]
        families = ["agop_singular_value@1", "gram_agop_subspace@2", "teacher_overlap@2", "teacher_overlap@10"]
        assert measure["metrics"] == ["train_loss", "relative_loss", *families] and measure["exponents"] == [0.5]
