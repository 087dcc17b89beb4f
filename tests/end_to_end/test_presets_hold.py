"""Every claim of every preset holds for seeds that it was not written with. Trains without service, store or Ray."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from service.grid.expansion import Expansion, expand
from service.grid.points import Point
from service.grid.problems import Problems
from service.planning.planner import next_round, round_grids
from service.planning.reading import read_plan
from service.presets import get_preset, preset_names
from service.questions.claimed_grids import read_claimed
from service.questions.judging import Claim, Row, Series, judge
from service.states import TrialState
from workers.blocks import Lane, Stack
from workers.training import train

FRESH_SEEDS = [101, 102]


@dataclass(frozen=True)
class Trained:
    """One trial's rows by layer, 0 for the network, ordered by step."""

    name: str
    point: Point
    seed: int
    state: TrialState
    rows: dict[int, list[dict[str, Any]]]

    @property
    def final(self) -> dict[str, float | None]:
        layers = [layer for layer in self.rows if layer]
        last = {**self.rows[min(layers)][-1], **self.rows[0][-1]}
        return last | {f"{name}[{layer}]": v for layer in layers for name, v in self.rows[layer][-1].items()}

    def lookup(self, path: str) -> Any:
        if path == "seed":
            return self.seed
        if path.startswith("final."):
            return self.final.get(path.removeprefix("final."))
        section, field = path.split(".")
        return self.point.settings[section].get(field)

    def row(self, claim: Claim) -> Row:
        times = [row["time"] for row in self.rows[0]]
        wanted = {layer: rows for layer, rows in self.rows.items() if claim.metric in rows[0]}
        series = {
            layer: Series([row["step"] for row in rows], times, [row[claim.metric] for row in rows])
            for layer, rows in wanted.items()
        }
        values = {layer: claim.reduction.apply(one.steps, one.values) for layer, one in series.items()}
        final = self.final
        if claim.layers in self.point.layers:
            called, number = claim.layers, self.point.layers.index(str(claim.layers)) + 1
            values = {called: values[number]}
            final |= {f"{name}[{called}]": value for name, value in self.rows[number][-1].items()}
        return Row(self.name, self.state, self.lookup, final, values, series)


def train_all(expansion: Expansion) -> list[Trained]:
    stacks: dict[str, list[tuple[int, Point, int]]] = defaultdict(list)
    for position, point, seed, _ in expansion.trials():
        stacks[point.stack_key].append((position, point, seed))
    return [trained for members in stacks.values() for trained in train_stack(members)]


def train_stack(members: Sequence[tuple[int, Point, int]]) -> list[Trained]:
    rows: list[dict[int, list[dict[str, Any]]]] = [defaultdict(list) for _ in members]
    states: dict[int, TrialState] = {}
    for block in train(Stack(tuple(Lane(point.settings, seed) for _, point, seed in members), {})):
        for row in block.network.to_pylist():
            rows[row["lane"]][0].append(row)
        extra: dict[tuple[int, int, int], dict[str, float]] = defaultdict(dict)
        for row in block.parametrised.to_pylist():
            extra[row["lane"], row["layer"], row["step"]][row["name"]] = row["value"]
        for row in block.layers.to_pylist():
            rows[row["lane"]][row["layer"]].append(row | extra[row["lane"], row["layer"], row["step"]])
        states |= {end.lane: TrialState(end.state) for end in block.ended}
    for lane in rows:
        for series in lane.values():
            series.sort(key=lambda row: row["step"])
    return [
        Trained(f"t{position}", point, seed, states[lane], dict(rows[lane]))
        for lane, (position, point, seed) in enumerate(members)
    ]


def train_rounds(
    grid: dict[str, Any], expansion: Expansion, claims: Sequence[Claim], first: Sequence[Trained]
) -> list[Trained]:
    """What the searches of a grid add, round by round, until nothing is left to look for."""
    problems, found = Problems(), list[Trained]()
    plan = read_plan(grid, expansion, claims, problems)
    assert not problems
    for rounds in itertools.count():
        if plan is None:
            break
        rows = {ask.id: [one.row(ask) for one in (*first, *found)] for ask in plan.asks}
        asked = next_round(plan, rows, rounds, {})
        assert not asked.stopped
        if not asked.additions:
            break
        for document in round_grids(grid, asked.additions):
            found += train_all(expand(document))
    return found


@pytest.mark.parametrize("name", preset_names())
def test_every_claim_of_a_preset_holds_for_fresh_seeds(name: str) -> None:
    grid = {**get_preset(name).grid, "seeds": FRESH_SEEDS}
    expansion, claims = read_claimed(grid)
    trained = train_all(expansion)
    assert len(trained) == len(expansion)
    trained += train_rounds(grid, expansion, claims, trained)
    verdicts = [judge(claim, [one.row(claim) for one in trained]) for claim in claims]
    assert [verdict for verdict in verdicts if verdict.holds is not True] == []
    assert all(verdict.trials for verdict in verdicts)
