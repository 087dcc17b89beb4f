"""Claims: what enters, what is left out, and what the verdict says."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from service.errors import InvalidGrid
from service.questions.claim_fits import decay_rate, log_log_slope, parse_product
from service.questions.claim_forms import parse_condition
from service.questions.judging import Claim, Row, Series, Verdict, judge, parse_claims
from service.states import TrialState

DONE = TrialState.COMPLETED
HEALTHY = {"relative_loss": 0.01, "agop_rank": 4.0}


def row(
    name: str,
    values: float | Mapping[int, float | None] | None = None,
    *,
    state: TrialState = DONE,
    final: Mapping[str, float | None] = HEALTHY,
    series: Mapping[int, Series] | None = None,
    **settings: Any,
) -> Row:
    facts = {"state": state.value, "seed": 0, **{key.replace("__", "."): value for key, value in settings.items()}}
    by_layer = values if isinstance(values, Mapping) else {1: values}
    return Row(name, state, facts.get, final, by_layer, series or {})


def claim(**parts: Any) -> Claim:
    return parse_claims([{"id": "c", "metric": "alignment", **parts}])[0]


def verdict(rows: list[Row], **parts: Any) -> Verdict:
    return judge(claim(**parts), rows)


def test_every_trial_names_the_worst() -> None:
    found = verdict([row("a", 0.9), row("b", 0.7), row("c", 0.8)], every_trial=">= 0.75", says="so")
    assert (found.holds, found.worst, found.worst_trial, found.trials) == (False, 0.7, "b", 3)
    assert (found.threshold, found.says, found.left_out) == (">= 0.75", "so", {"gate": 0, "diverged": 0})
    assert verdict([row("a", 0.9), row("b", 0.75)], every_trial=">= 0.75").holds is True


@pytest.mark.parametrize(
    ("threshold", "worst", "holds"),
    [
        ("<= 0.8", 0.9, False),
        ("< 0.9", 0.9, False),
        ("<= 0.9", 0.9, True),
        ("> 0.7", 0.7, False),
        ("== 0.7", 0.9, False),
    ],
)
def test_the_worst_is_the_one_furthest_from_the_threshold(threshold: str, worst: float, holds: bool) -> None:
    found = verdict([row("a", 0.7), row("b", 0.9), row("c", 0.8)], every_trial=threshold)
    assert (found.worst, found.holds) == (worst, holds)


def test_any_trial_names_the_nearest_to_the_threshold() -> None:
    found = verdict([row("a", 0.9), row("b", 0.7)], any_trial=">= 0.85")
    assert (found.holds, found.worst, found.worst_trial) == (True, 0.9, "a")
    assert verdict([row("a", 0.9), row("b", 0.7)], any_trial=">= 0.95").holds is False


def test_where_picks_the_trials() -> None:
    rows = [row("a", 0.1, training__weight_decay=0.0), row("b", 0.9, training__weight_decay=0.1)]
    found = verdict(rows, where="training.weight_decay > 0", every_trial=">= 0.5")
    assert (found.holds, found.trials) == (True, 1)


@pytest.mark.parametrize("state", [TrialState.QUEUED, TrialState.RUNNING, TrialState.FAILED, TrialState.CANCELLED])
def test_nothing_holds_or_fails_while_a_trial_is_missing(state: TrialState) -> None:
    assert verdict([row("a", 0.9), row("b", None, state=state)], every_trial=">= 0.5").holds is None
    assert verdict([row("a", 0.1), row("b", None, state=state)], every_trial=">= 0.5").holds is None
    elsewhere = [row("a", 0.9, network__depth=2), row("b", None, state=state, network__depth=3)]
    assert verdict(elsewhere, where="network.depth == 2", every_trial=">= 0.5").holds is True


def test_diverged_trials_are_left_out_and_counted() -> None:
    found = verdict([row("a", 0.9), row("b", 0.1, state=TrialState.DIVERGED)], every_trial=">= 0.5")
    assert (found.holds, found.trials, found.left_out) == (True, 1, {"gate": 0, "diverged": 1})


def test_collapsed_trials_are_left_out_and_counted() -> None:
    collapsed: list[Mapping[str, float | None]] = [
        {"relative_loss": 0.5, "agop_rank": 4.0},
        {"relative_loss": 0.1, "agop_rank": 1.0},
    ]
    collapsed += [{"relative_loss": None, "agop_rank": 4.0}]
    rows = [row("a", 0.9), *(row(str(i), 0.1, final=final) for i, final in enumerate(collapsed))]
    found = verdict(rows, every_trial=">= 0.5")
    assert (found.holds, found.trials, found.left_out["gate"]) == (True, 1, 3)
    assert verdict(rows, every_trial=">= 0.5", gate="none").holds is False
    assert verdict(rows, every_trial=">= 0.5", gate={"relative_loss": "< 0.4"}).left_out["gate"] == 2


def test_a_gate_on_what_was_not_measured_is_open() -> None:
    assert verdict([row("a", 0.9, final={"relative_loss": 0.1})], every_trial=">= 0.5").trials == 1


def test_when_nothing_is_left_there_is_no_verdict() -> None:
    for rows in ([], [row("a", 0.9, final={"relative_loss": 0.9})], [row("a", 0.9, state=TrialState.DIVERGED)]):
        found = verdict(rows, every_trial=">= 0.5")
        assert (found.holds, found.worst, found.worst_trial, found.trials) == (None, None, None, 0)


def test_an_undefined_value_does_not_satisfy_a_claim_about_every_trial() -> None:
    for undefined in (None, math.nan):
        found = verdict([row("a", 0.9), row("b", undefined)], every_trial=">= 0.5")
        assert (found.holds, found.worst, found.worst_trial) == (False, None, "b")


def test_all_layers_are_judged_each_under_its_own_gate() -> None:
    layers = {1: 0.9, 2: 0.8, 3: 0.2}
    found = verdict([row("a", layers)], layer="all", every_trial=">= 0.5")
    assert (found.holds, found.worst) == (False, 0.2)
    final = {**HEALTHY, "agop_rank[3]": 1.0}
    assert verdict([row("a", layers, final=final)], layer="all", every_trial=">= 0.5").worst == 0.8
    assert verdict([row("a", layers)], layer=2, every_trial=">= 0.5").worst == 0.8


def test_a_metric_of_the_network_needs_no_layer() -> None:
    found = verdict([row("a", {0: 0.01})], metric="relative_loss", layer=3, every_trial="<= 0.02")
    assert (found.holds, found.worst) == (True, 0.01)


def test_a_group_is_judged_by_its_aggregate() -> None:
    rows = [row(f"{d}{v}", v, network__depth=d) for d, values in {2: (0.4, 0.8), 3: (0.1, 0.3)}.items() for v in values]
    found = verdict(rows, group={"by": ["network.depth"], "is": ">= 0.5"})
    assert (found.holds, found.worst_group, found.worst_trial) == (False, {"network.depth": 3}, None)
    assert found.worst == pytest.approx(0.2)
    assert verdict(rows, group={"by": ["network.depth"], "agg": "max", "is": ">= 0.3"}).holds is True
    assert verdict(rows, group={"agg": "median", "is": ">= 0.35"}).worst == pytest.approx(0.35)
    assert verdict(rows, group={"agg": "min", "is": ">= 0.1"}).holds is True


def exponential(rate: float, floor: float = 1e-14) -> Series:
    """exp(-rate t) that rounding stops from falling below a floor, after a start that is not exponential."""
    times = [0.5 * i for i in range(81)]
    values = [math.exp(-rate * t) * (1 + math.exp(-5 * t)) + floor for t in times]
    return Series(list(range(81)), times, values)


def test_a_rate_is_fitted_per_trial_and_divided() -> None:
    rows = [row("a", series={0: exponential(0.4)}, training__weight_decay=0.2)]
    rows += [row("b", series={0: exponential(1.02)}, training__weight_decay=0.5)]
    fit = {"kind": "rate", "from": 0.1, "above": 1e-9, "divide_by": "2*training.weight_decay", "between": [0.99, 1.01]}
    found = verdict(rows, metric="imbalance", fit=fit)
    assert (found.holds, found.worst_trial, found.threshold) == (False, "b", "in [0.99, 1.01]")
    assert found.worst == pytest.approx(1.02, abs=1e-3)
    assert verdict(rows[:1], metric="imbalance", fit=fit).holds is True
    undecayed = [row("c", series={0: exponential(0.4)}, training__weight_decay=0.0)]
    assert verdict(undecayed, metric="imbalance", fit=fit).holds is False


def test_a_slope_is_fitted_per_group() -> None:
    rates = [0.1, 0.03, 0.01, 0.003]
    rows = [
        row(f"{depth}{lr}", 1 - depth * lr**power, network__depth=depth, training__learning_rate=lr)
        for depth, power in ((2, 2.0), (3, 1.5))
        for lr in rates
    ]
    fit = {"kind": "log_log_slope", "x": "training.learning_rate", "transform": "1-x", "by": ["network.depth"]}
    found = verdict(rows, fit={**fit, "between": [1.9, 2.1]})
    assert (found.holds, found.worst_group) == (False, {"network.depth": 3})
    assert found.worst == pytest.approx(1.5)
    assert verdict(rows, fit={**fit, "between": [1.4, 2.1]}).holds is True


def test_fits_without_enough_points_are_undefined() -> None:
    assert decay_rate([0.0, 1.0], [1.0, 0.5]) is None
    assert decay_rate([0.0, 1.0, 2.0], [0.0, 0.5, 0.2]) is None
    assert decay_rate([], []) is None
    assert decay_rate([0.0, 1.0, 2.0, 3.0], [1.0, math.exp(-2), None, math.exp(-6)]) == pytest.approx(2.0)
    assert log_log_slope([(0.1, 0.5)]) is None
    assert log_log_slope([(0.1, 0.5), (0.2, None)]) is None
    assert log_log_slope([(0.1, 1.0), (0.2, 1.0)], "1-x") is None
    assert log_log_slope([("gd", 1.0), (0.2, 1.0)]) is None


def test_a_product_reads_settings() -> None:
    facts = {"training.weight_decay": 0.1, "network.depth": 3, "training.optimizer": "gd"}
    assert parse_product("2*training.weight_decay")(facts.get) == 0.2
    assert parse_product(" 1e-1 * network.depth*2 ")(facts.get) == pytest.approx(0.6)
    assert math.isnan(parse_product("training.optimizer")(facts.get))
    for wrong in ("2+3", "", "2*", "weight_decay", "__import__('os')", "2**3"):
        with pytest.raises(ValueError, match="product"):
            parse_product(wrong)


@pytest.mark.parametrize(
    ("written", "path", "nearest"),
    [
        (5, "claims[0]", None),
        ({"metric": "alignment", "any_trial": "> 0"}, "claims[0].id", None),
        ({"id": "a", "metric": "alignmnt", "any_trial": "> 0"}, "claims[0].metric", "alignment"),
        ({"id": "a", "metric": "alignment"}, "claims[0]", None),
        ({"id": "a", "metric": "alignment", "any_trial": "> 0", "every_trial": "> 0"}, "claims[0]", None),
        ({"id": "a", "metric": "alignment", "every_trial": "0.5"}, "claims[0].every_trial", None),
        ({"id": "a", "metric": "alignment", "every_trial": "=> 0.5"}, "claims[0].every_trial", None),
        ({"id": "a", "metric": "alignment", "every_tral": "> 0.5"}, "claims[0].every_tral", "every_trial"),
        ({"id": "a", "metric": "alignment", "any_trial": "> 0", "where": "sed == 1"}, "claims[0].where", None),
        ({"id": "a", "metric": "alignment", "any_trial": "> 0", "layer": 0}, "claims[0].layer", None),
        ({"id": "a", "metric": "alignment", "any_trial": "> 0", "layer": "every one"}, "claims[0].layer", None),
        ({"id": "a", "metric": "alignment", "any_trial": "> 0", "reduce": "last"}, "claims[0].reduce", None),
        (
            {"id": "a", "metric": "alignment", "any_trial": "> 0", "gate": {"loss": "> 0"}},
            "claims[0].gate.loss",
            "test_loss",
        ),
        ({"id": "a", "metric": "alignment", "any_trial": "> 0", "gate": {"scale": ">"}}, "claims[0].gate.scale", None),
        ({"id": "a", "metric": "alignment", "any_trial": "> 0", "gate": "off"}, "claims[0].gate", None),
        ({"id": "a", "metric": "alignment", "fit": {"kind": "rat", "between": [1, 2]}}, "claims[0].fit", None),
        ({"id": "a", "metric": "alignment", "fit": {"kind": "rate"}}, "claims[0].fit.between", None),
        (
            {"id": "a", "metric": "alignment", "group": {"by": ["network.dept"], "is": "> 0"}},
            "claims[0].group.by[0]",
            "network.depth",
        ),
    ],
)
def test_a_wrong_claim_is_refused_by_name(written: Any, path: str, nearest: str | None) -> None:
    with pytest.raises(InvalidGrid) as caught:
        parse_claims([written])
    assert caught.value.errors[0]["path"] == path
    assert caught.value.errors[0].get("nearest") == nearest


def test_two_claims_of_one_id_are_refused() -> None:
    one = {"id": "a", "metric": "alignment", "any_trial": "> 0"}
    with pytest.raises(InvalidGrid, match="another claim has this id"):
        parse_claims([one, one])


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("== 2.25 +- 0.001", 2.2509, True),
        ("== 2.25 +- 0.001", 2.2491, True),
        ("== 2.25 +- 1e-3", 2.2511, False),
        ("==2.25+-.1", None, False),
        ("== 2.25", 2.2500001, False),
    ],
)
def test_an_equality_may_have_a_tolerance(text, value, holds):
    assert parse_condition(text).holds(value) is holds


@pytest.mark.parametrize("text", [">= 2 +- 0.1", "== 2 +- -1", "== 2 +-", "2.25 +- 0.1"])
def test_a_tolerance_belongs_to_an_equality_and_is_a_number(text):
    with pytest.raises(ValueError, match=r"== 2\.25 \+- 0\.001"):
        parse_condition(text)
