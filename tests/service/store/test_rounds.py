"""Rounds of a search: what is added, by whom, and that it is added exactly once. On both databases."""

import threading

import pytest
from sqlalchemy import update

from service.errors import InvalidGrid, TooMany
from service.grid.fitting import Limits
from service.planning.planner import boundaries, estimates
from service.questions.brackets import Line
from service.states import ExperimentState
from service.store import control, experiments, models, rounds, submissions
from service.store.expansions import expanded, widen_experiment
from service.store.search_rows import search_rows
from service.store.verdicts import claim_rows

LIMITS = Limits()
SMALL = {
    "data": {"samples": 8, "inputs": 3, "outputs": 2, "spectrum": [1.0]},
    "network": {"width": 3, "depth": 2},
    "training": {"steps": 0},
    "measure": {"metrics": ["train_loss"]},
}
REFINE = {
    "axis": "training.weight_decay",
    "where": "training.weight_decay < 0.3 and network.depth == 2 or training.weight_decay < 0.05",
    "tolerance": 0.05,
}
GRID = {
    "trial": SMALL,
    "axes": {"network.depth": [2, 3], "training.weight_decay": [0.01, 1.0]},
    "seeds": 2,
    # a statement whose boundary is known: 0.3 at depth 2, 0.05 at depth 3
    "refine": REFINE,
}


def _submit(store, grid, owner="local"):
    return submissions.create_experiment(store, expanded(store, grid, LIMITS), document=grid, owner=owner).id


def _search(store, experiment, train_queue, most=40, plans=None):
    added = []
    for _ in range(most):
        train_queue()
        added.append(rounds.add_rounds(store, LIMITS, plans=plans))
        if not added[-1]:
            return added[:-1]
    raise AssertionError(f"still searching after {added}")


def test_boundaries_are_found_at_every_depth_and_the_experiment_ends(store, train_queue):
    experiment = _submit(store, GRID)
    train_queue()
    assert experiments.get_experiment(store, experiment).state == ExperimentState.RUNNING
    added = _search(store, experiment, train_queue)
    one = experiments.get_experiment(store, experiment)
    assert (one.state, one.progress) == (ExperimentState.COMPLETED, 1.0)
    found = rounds.searched(store, experiment)
    assert [len(kept.additions) * 2 for kept in found.rounds] == added
    assert sum(added) + 8 == sum(one.counts.values())
    assert found.plan is not None
    for boundary, truth in zip(boundaries(found.plan, found.rows), [0.3, 0.05], strict=True):
        assert isinstance(boundary.found, Line)
        (bracket,) = boundary.found.brackets
        assert bracket.is_found and bracket.low < truth <= bracket.high <= bracket.low / 0.95
    # far fewer than a uniform grid of the same resolution: ln(100) / 0.05 values at each depth
    assert sum(added) < 2 * 2 * 92 / 4


def test_two_dispatchers_that_notice_at_once_add_a_round_once(store, train_queue):
    experiment = _submit(store, GRID)
    train_queue()
    start, answers = threading.Barrier(4), []

    def plan():
        start.wait()
        answers.append(rounds.add_rounds(store, LIMITS))

    threads = [threading.Thread(target=plan) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [0, 0, 0, 4]
    assert len(rounds.searched(store, experiment).rounds) == 1


def test_a_round_that_cannot_be_written_to_its_end_leaves_nothing(store, train_queue, monkeypatch):
    experiment = _submit(store, GRID)
    train_queue()

    def fail():
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        # the last thing that is asked for before the round itself is written, after its trials
        patch.setattr(rounds, "utc_now", fail)
        with pytest.raises(ConnectionError):
            rounds.add_rounds(store, LIMITS)
    assert sum(experiments.get_experiment(store, experiment).counts.values()) == 8
    assert rounds.add_rounds(store, LIMITS) == 4


def test_what_was_cancelled_searches_no_more_and_what_is_paused_waits(store, train_queue):
    first, second = _submit(store, GRID), _submit(store, {**GRID, "seeds": [5, 6]})
    train_queue()
    assert control.pause_experiment(store, first).state == ExperimentState.PAUSED
    assert control.cancel_experiment(store, second).state == ExperimentState.COMPLETED
    assert rounds.add_rounds(store, LIMITS) == 0
    assert control.resume_experiment(store, first).state == ExperimentState.RUNNING
    assert rounds.add_rounds(store, LIMITS) == 4


def test_a_wider_grid_and_a_retry_search_again(store, train_queue):
    experiment = _submit(store, GRID)
    plans = rounds.Plans(store, LIMITS)
    _search(store, experiment, train_queue, plans=plans)
    widened, _ = widen_experiment(store, experiment, {"network.depth": [4]}, 2, LIMITS, None)
    assert widened.state == ExperimentState.RUNNING
    assert _search(store, experiment, train_queue, plans=plans)
    assert control.retry_experiment(store, experiment, "failed").state == ExperimentState.RUNNING
    assert _search(store, experiment, train_queue) == []
    assert experiments.get_experiment(store, experiment).state == ExperimentState.COMPLETED


def test_a_round_that_is_larger_than_the_owners_quota_is_added_in_parts(store, train_queue):
    experiment = _submit(store, GRID)
    train_queue()
    assert rounds.add_rounds(store, LIMITS, max_queued=3) == 2
    train_queue()
    assert rounds.add_rounds(store, LIMITS, max_queued=4) == 4
    assert [one.added for one in rounds.rounds_made(store, experiment).rounds] == [{"refine": 2}, {"refine": 4}]


def test_a_round_waits_for_room_in_the_owners_quota_and_says_so_while_others_go_on(store, train_queue):
    first, theirs = _submit(store, GRID), _submit(store, {**GRID, "seeds": [5, 6]}, owner="b")
    train_queue()
    _submit(store, {**GRID, "seeds": [7, 8], "refine": []})
    assert rounds.add_rounds(store, LIMITS, max_queued=9) == 4
    assert len(rounds.rounds_made(store, theirs).rounds) == 1
    with pytest.raises(TooMany):
        rounds.add_rounds(store, LIMITS, max_queued=9)
    made = rounds.rounds_made(store, first)
    assert made.is_open and not made.rounds and "local would have 12 unfinished trials" in made.stopped["refine"]
    train_queue()
    assert rounds.add_rounds(store, LIMITS, max_queued=9) == 8
    assert not rounds.rounds_made(store, first).stopped


def test_a_search_ends_where_its_experiment_may_have_no_more_trials(store, train_queue):
    experiment = _submit(store, GRID)
    train_queue()
    assert rounds.add_rounds(store, Limits(trials_per_experiment=10)) == 0
    made = rounds.rounds_made(store, experiment)
    assert "more than 10 trials" in made.stopped["refine"] and not made.is_open


def test_a_grid_that_cannot_be_read_any_more_ends_its_search_alone(store, train_queue):
    broken, sound = _submit(store, GRID), _submit(store, {**GRID, "seeds": [5, 6]})
    train_queue()
    grid = {**GRID, "refine": {**REFINE, "where": "final.gone > 1"}}
    with store.write() as connection:
        connection.execute(update(models.experiment).where(models.experiment.c.id == int(broken[1:])).values(grid=grid))
    assert rounds.add_rounds(store, LIMITS) == 4
    made = rounds.rounds_made(store, broken)
    assert "grid" in made.stopped and not made.is_open
    assert len(rounds.rounds_made(store, sound).rounds) == 1


@pytest.mark.parametrize(("bound", "told"), [({"rounds": 2}, "rounds"), ({"at_most": 8}, "at_most")])
def test_a_search_that_may_not_go_on_says_why(store, train_queue, bound, told):
    experiment = _submit(store, {**GRID, "refine": {**REFINE, **bound}})
    assert sum(_search(store, experiment, train_queue)) == 8
    found = rounds.searched(store, experiment)
    assert told in found.stopped["refine"] and not found.is_open


def test_seeds_are_added_to_each_point_until_its_interval_is_narrow(store, train_queue):
    grid = {
        "trial": SMALL,
        "axes": {"init.scale": [0.001, 1.0]},
        "seeds": {"until": {"metric": "train_loss", "ci95": 0.2}, "at_least": 5, "at_most": 60},
    }
    experiment = _submit(store, grid)
    added = _search(store, experiment, train_queue)
    found = rounds.searched(store, experiment)
    assert found.plan is not None
    small, large = estimates(found.plan, found.rows)
    assert added and small.is_certain and small.seeds < large.seeds
    assert large.is_certain or large.seeds == 60
    assert ("seeds" in found.stopped) == (not large.is_certain)
    assert sum(experiments.get_experiment(store, experiment).counts.values()) == small.seeds + large.seeds


def test_a_plan_is_read_once_for_a_grid(store):
    plans = rounds.Plans(store, LIMITS)
    first = plans.of(1, GRID)
    assert plans.of(1, {**GRID}) is first
    wider = plans.of(1, {**GRID, "seeds": 3})
    assert wider is not None and wider.seeds == (0, 1, 2)
    plans.keep([])
    assert plans.of(1, GRID) is not first


def test_a_plan_that_cannot_be_read_is_not_read_at_every_look(store):
    plans, broken = rounds.Plans(store, LIMITS), {**GRID, "refine": {**REFINE, "where": "final.gone > 1"}}
    with pytest.raises(InvalidGrid) as first:
        plans.of(1, broken)
    assert plans.has(1)
    with pytest.raises(InvalidGrid) as again:
        plans.of(1, broken)
    assert again.value is first.value
    assert plans.of(1, GRID) is not None


def test_filters_of_searches_find_what_claims_find(store, train_queue):
    measure = {"metrics": ["train_loss", "alignment", "agop_rank", "modes"], "layers": "all"}
    where = " or ".join(
        f"final.{name} > 0" for name in ("train_loss", "alignment", "alignment[2]", "alignment[3]", "agop_rank[1]")
    )
    trial = {**SMALL, "measure": measure}
    experiment = _submit(store, {**GRID, "trial": trial, "refine": {**REFINE, "where": where}})
    train_queue()
    plan = rounds.searched(store, experiment).plan
    assert plan is not None
    paths = sorted({*plan.paths, "seed", "state", "network.depth", "training.weight_decay", "init.gain"})
    told, judged = search_rows(store, experiment, plan)[plan.told], claim_rows(store, experiment, plan.asks)[plan.told]
    found = [[row.lookup(path) for path in paths] for row in told]
    assert found == [[row.lookup(path) for path in paths] for row in judged]
    assert [row.trial for row in told] == [row.trial for row in judged]
    # depth 2 has no third layer, depth 3 has
    assert {row.lookup("final.alignment[3]") is None for row in told} == {True, False}


def test_seeds_that_are_used_up_are_told(store, train_queue):
    until = {"metric": "train_loss", "ci95": 0.0001}
    grid = {"trial": SMALL, "axes": {"init.scale": [0.5, 1.0]}, "seeds": {"until": until, "at_least": 2, "at_most": 3}}
    experiment = _submit(store, grid)
    assert sum(_search(store, experiment, train_queue)) == 2
    made = rounds.rounds_made(store, experiment)
    assert made.stopped == {"seeds": "2 points have used all of their 3 seeds"} and not made.is_open


def test_a_deleted_experiment_takes_its_rounds_with_it(store, train_queue):
    experiment = _submit(store, GRID)
    _search(store, experiment, train_queue)
    control.delete_experiment(store, experiment)
    assert rounds.add_rounds(store, LIMITS) == 0
