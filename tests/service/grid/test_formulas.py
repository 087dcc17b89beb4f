"""Settings that follow from settings: `= 20 / training.learning_rate`."""

import ast
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidGrid
from service.grid.expansion import expand
from service.grid.formula_places import is_setting
from service.grid.formulas import MAX_LENGTH, FormulaError, parse
from tests.service.computing import in_time

VALUES = {"training.learning_rate": 0.25, "data.samples": 200, "training.momentum": 0.0, "training.batch_size": None}


def value(text: str) -> Any:
    return parse(text, is_setting).value(VALUES)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("= 20 / training.learning_rate", 80.0),
        ("=data.samples", 200),
        (" = 2 ** 3 ** 2", 512),
        ("= -2 ** 2", -4),
        ("= 2 ** -1", 0.5),
        ("= 7 - 2 - 1", 4),
        ("= 8 / 2 / 2", 2.0),
        ("= 2 + 3 * 4", 14),
        ("= (2 + 3) * 4", 20),
        ("= - - 3", 3),
        ("= min(3, data.samples, 5) + max(1)", 4),
        ("= round(2.5) + round(3.5)", 6),
        ("= floor(-1.5) + ceil(1.2) + abs(-4)", 4),
        ("= sqrt(16) + log(exp(1))", 5.0),
        ("= 1e-3 * .5 + 2.", 2.0005),
        ("= 3 * data.samples - 1", 599),
    ],
)
def test_a_formula_has_the_value_that_arithmetic_gives(text: str, wanted: float) -> None:
    assert value(text) == wanted and type(value(text)) is type(wanted)


def formulas() -> st.SearchStrategy[str]:
    leaves = st.one_of(st.integers(0, 50).map(str), st.floats(0.1, 9).map(lambda x: f"{x:.3g}"))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
            st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(" ".join),
            inner.map(lambda one: f"-{one}"),
            inner.map(lambda one: f"abs({one})"),
        ),
        max_leaves=12,
    )


@given(formulas())
@settings(max_examples=200, deadline=None)
def test_formulas_are_read_as_python_reads_them(text: str) -> None:
    if len(text) > MAX_LENGTH - 2:
        return
    try:
        wanted = eval(compile(ast.parse(text, mode="eval"), "test", "eval"))
    except ZeroDivisionError:
        with pytest.raises(FormulaError, match="divides by zero"):
            value(f"= {text}")
        return
    assert value(f"= {text}") == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("=", "expected a number, a setting .* at column 2, where the end stands"),
        ("= 1 +", "where the end stands"),
        ("= 1 2", "expected an operator or the end at column 5, where 2 stands"),
        ("= (1", r"expected \) at column 5"),
        ("= 1 // 2", "expected a number"),
        ("= 1 % 2", "unexpected % at column 5"),
        ("= __import__(1)", "__import__ at column 3"),
        ("= sqrt", "sqrt at column 3"),
        ("= sqrt(1, 2)", "sqrt at column 3 takes one number, not 2"),
        ("= min()", "expected a number"),
        ("= learning_rate", "learning_rate"),
        ("= data.samples.real", "data.samples.real"),
        ("= training", "training at column 3"),
        ("= " + "(" * 40 + "1" + ")" * 40, "nested more than 30 levels"),
        ("= " + "-" * 40 + "1", "nested more than 30 levels"),
        ("= 1" + "+1" * 200, "403 characters is over the limit of 300"),
        ("= 1e999", "larger than any float64"),
        ("= 1 / training.momentum", "divides by zero"),
        ("= 0 ** -1", "divides by zero"),
        ("= 10 ** 400", "larger than any float64"),
        ("= 9 ** 9 ** 9 ** 9", "larger than any float64"),
        ("= 10.0 ** 400", "larger than any float64"),
        ("= exp(1000)", "larger than any float64"),
        ("= 10 ** 200 * 10 ** 200", "larger than any float64"),
        ("= log(0)", "undefined"),
        ("= sqrt(-1)", "undefined"),
        ("= (-8) ** 0.5", "undefined"),
        ("= training.batch_size + 1", "training.batch_size is null, which is no number"),
    ],
)
def test_what_is_no_formula_or_has_no_value_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(FormulaError, match=told):
        value(text)


STEPS = {"training": {"steps": "= 20 / training.learning_rate"}}


def test_a_setting_follows_from_an_axis_and_its_trials_are_those_written_with_numbers() -> None:
    rates = [0.02, 0.01, 0.05]
    found = expand({"trial": STEPS, "axes": {"training.learning_rate": rates}, "seeds": 2})
    plain = expand({"zip": [{"training.learning_rate": rates, "training.steps": [1000, 2000, 400]}], "seeds": 2})
    assert [one for *_, one in found.trials()] == [one for *_, one in plain.trials()]
    assert dict(found.axes) == {"training.learning_rate": rates}
    assert dict(found.derived) == {"training.steps": [1000, 2000, 400]}
    assert found.grid.trial == STEPS


def test_formulas_stand_in_axes_zip_groups_lists_ranges_layers_and_included_points() -> None:
    grid = {
        "trial": {
            "network": {"depth": 3, "width": ["= 2 * data.inputs", 16]},
            "data": {"spectrum": {"log": ["= 2 * 1", 0.5, 2]}},
            "training": {
                "stop": {"loss_below": "= training.learning_rate / 100"},
                "layers": {"1": {"learning_rate": "= training.learning_rate / 2"}},
            },
        },
        "axes": {
            "data.inputs": [5, "= 2 * 5"],
            "training": [{"weight_decay": 0.5}, {"momentum": "= data.inputs / 20"}],
        },
        "zip": [{"training.learning_rate": [0.1, 0.2], "training.steps": ["= 10 / training.learning_rate", 7]}],
        "include": [{"data.inputs": 7}, {"training": {"steps": "= data.inputs"}, "data.inputs": 8}],
    }
    found = [point.settings for point in expand(grid).points]
    told = [
        (
            one["data"]["inputs"],
            one["network"]["width"],
            one["data"]["spectrum"],
            one["training"]["steps"],
            one["training"]["stop"]["loss_below"],
            one["training"]["layers"]["1"]["learning_rate"],
        )
        for one in found
    ]
    ways = [(100, 0.001, 0.05), (7, 0.002, 0.1)]
    wanted = [(inputs, [2 * inputs, 16], [2.0, 0.5], *way) for inputs in (5, 10) for _ in range(2) for way in ways]
    included = [(7, [14, 16], [2.0, 0.5], 6000, 0.0002, 0.01), (8, [16, 16], [2.0, 0.5], 8, 0.0002, 0.01)]
    # momentum is not read by gd: points that differ in it alone are one only where the decay agrees too
    assert told == [*wanted, *included]


def test_a_formula_of_several_axes_is_worked_out_for_each_combination_and_may_be_excluded() -> None:
    grid = {
        "trial": {"network": {"width": "= round(20 / (data.inputs * training.learning_rate))"}},
        "axes": {"data.inputs": [5, 10], "training.learning_rate": [0.5, 0.25]},
    }
    assert expand(grid).derived == {"network.width": [8, 16, 4]}
    left = expand({**grid, "exclude": [{"network.width": 8}, {"data.inputs": "= 5 * 1", "network.width": "= 2 ** 4"}]})
    assert left.derived == {"network.width": [4]} and not left.ignored
    with pytest.raises(InvalidGrid, match=r"exclude\[0\].network.width: data.inputs varies"):
        expand({**grid, "exclude": [{"network.width": "= data.inputs"}]})


def test_what_follows_from_what_follows_is_resolved_in_any_order() -> None:
    layers = {
        str(layer): {"learning_rate": f"= training.layers.{layer + 1}.learning_rate / 2"} for layer in range(1, 60)
    }
    layers["60"] = {"learning_rate": "= 3 * training.learning_rate"}
    grid = {"trial": {"network": {"depth": 60}, "training": {"layers": layers, "learning_rate": "= 1 / data.samples"}}}
    (point,) = expand(grid).points
    assert point.settings["training"]["layers"]["59"]["learning_rate"] == 0.0075
    assert point.settings["training"]["layers"]["1"]["learning_rate"] == 0.015 / 2**59


def errors_of(grid: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidGrid) as caught:
        expand(grid)
    return {one["path"]: one["message"] for one in caught.value.errors}


def test_wrong_formulas_are_told_with_their_places_and_what_is_allowed() -> None:
    rates = {"axes": {"training.learning_rate": [0.02, 0.03]}}
    told = errors_of({"trial": STEPS, **rates})
    assert told == {
        "trial.training.steps": "is 666.6666666666667 where training.learning_rate is 0.03: a whole number is needed, "
        "write = round(20 / training.learning_rate)"
    }
    cycle = {"steps": "= training.learning_rate", "learning_rate": "= 1 / training.steps"}
    assert "follows from itself: training.steps -> training.learning_rate -> training.steps" in str(
        errors_of({"trial": {"training": cycle}})
    )
    assert "follows from itself: data.noise -> data.noise" in str(errors_of({"axes": {"data.noise": ["= data.noise"]}}))
    assert "did you mean training.learning_rate?" in str(
        errors_of({"axes": {"training.steps": [1, "= 1/learning_rate"]}})
    )
    assert list(errors_of({"axes": {"training.steps": [1, "= 1 / learning_rate"]}})) == ["axes.training.steps[1]"]
    assert list(errors_of({"include": [{"training.steps": "= 1 / 3"}]})) == ["include[0].training.steps"]
    assert "an axis sets training.stop as a whole" in str(
        errors_of({"trial": {"training": {"stop": {"loss_below": "= 1"}}}, "axes": {"training.stop": [None]}})
    )
    null = {
        "trial": {"data": {"noise": "= training.stop.loss_below"}},
        "axes": {"training.stop": [None, {"loss_below": 1}]},
    }
    assert "training.stop.loss_below is null, which is no number" in str(errors_of(null))
    assert "divides by zero where training.momentum is 0" in str(
        errors_of({"trial": {"data": {"noise": "= 1 / training.momentum"}}, "axes": {"training.momentum": [0, 0.5]}})
    )
    assert "valid string" in str(errors_of({"trial": {"training": {"optimizer": "= 3"}}}))
    assert errors_of({"trial": {"training": {"steps": "= network.bias"}}}) == {
        "trial.training.steps": "network.bias is False, which is no number"
    }


LONG = "= " + "+".join(["data.noise"] * 24)
HOSTILE: dict[str, Any] = {
    "a formula for each point": {"axes": {"data.offset": [f"= {index} / 100000" for index in range(99_999)]}},
    "a formula of each point": {
        "trial": {"training": {"steps": "= round(20 / training.learning_rate)"}},
        "axes": {"training.learning_rate": {"log": [1e-3, 0.9, 99_999]}},
    },
    "long ones of each point": {
        "trial": {"init": {"scale": LONG}},
        "axes": {"data.noise": {"log": [1e-3, 0.9, 99_999]}},
    },
    "long different ones": {"axes": {"init.scale": [f"{LONG}+{index}" for index in range(15_000)]}},
    "wrong ones": {"axes": {"init.scale": [f"= {index} +" for index in range(99_999)]}},
    "a long list": {"trial": {"data": {"spectrum": ["= 1 + 1"] * 200_000}}},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_grids_full_of_formulas_are_answered_in_time(name: str) -> None:
    def answer() -> str:
        try:
            return f"{sum(1 for _ in expand(HOSTILE[name]).trials())} trials"
        except InvalidGrid as error:
            return error.detail

    assert in_time(answer, 2.0)


def test_infinities_never_reach_a_setting() -> None:
    assert not math.isfinite(1e308 * 10)
    assert "larger than any float64" in str(errors_of({"trial": {"init": {"scale": "= 1e308 * 10"}}}))
