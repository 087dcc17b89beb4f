"""A grid goes in, a dispatcher in a process of its own trains it on Ray, rows and verdicts come out."""

import pytest
from compilers import has_compiler
from processes import charged, trainers, wait_for_end, wait_until

from nfa_kernels.names import NUMERICAL_VERSION
from service.grid.expansion import expand
from service.questions.claimed_grids import read_claimed
from service.questions.judging import judge
from service.states import TrialState
from service.store import submissions, trials
from service.store.verdicts import claim_rows

WEIGHT_DECAY = {
    "name": "a small weight-decay sweep",
    "trial": {
        "data": {"samples": 60, "inputs": 6, "outputs": 3, "spectrum": [3, 2, 1], "noise": 0.1},
        "network": {"width": 8},
        "init": {"scheme": "he"},
        "training": {"steps": 4000, "learning_rate": 0.02},
        "measure": {"points": 30, "layers": "first"},
    },
    "axes": {"network.depth": [2, 3], "training.weight_decay": [0, 0.1]},
    "seeds": 4,
    "claims": [
        {
            "id": "restored",
            "says": "with weight decay the ansatz holds at the end of training",
            "where": "training.weight_decay > 0",
            "metric": "alignment",
            "every_trial": ">= 0.999",
        },
        {
            "id": "everywhere",
            "says": "the ansatz holds without weight decay too",
            "where": "training.weight_decay == 0",
            "metric": "alignment",
            "every_trial": ">= 0.999",
        },
    ],
}


def _trials(store, experiment):
    listed, _ = trials.list_trials(store, experiment, state=None, where="", sort=None, limit=1000, after=None)
    return [one.row for one in listed]


@pytest.fixture
def run(store, dispatchers):
    """Submits a grid and has it trained to the end by one dispatcher; answers the experiment and the dispatcher."""

    def go(grid):
        # a lease that outlasts a pause of the machine: every trial is leased once
        dispatcher = dispatchers.start(NFA_LEASE_SECONDS="60")
        wait_until(lambda: trainers(store))
        experiment = submissions.create_experiment(store, expand(grid)).id
        wait_for_end(store, experiment)
        return experiment, dispatcher

    return go


def test_a_weight_decay_sweep_ends_with_verdicts(store, run):
    experiment, _ = run(WEIGHT_DECAY)
    rows = _trials(store, experiment)
    assert len(rows) == 16
    assert {row.state for row in rows} == {TrialState.COMPLETED}
    claims = read_claimed(WEIGHT_DECAY).claims
    found = claim_rows(store, experiment, claims)
    assert [judge(claim, found[claim.id]).holds for claim in claims] == [True, False]
    assert charged(store) == 0


def test_a_diverging_trial_ends_diverged_at_its_step_while_its_stack_completes(store, run, tiny_grid):
    rates = [0.001, 50.0]
    grid = tiny_grid(axes={"training.learning_rate": rates}, seeds=2)
    experiment, _ = run(grid)
    rows = _trials(store, experiment)
    states = {(row.settings["training"]["learning_rate"], row.state) for row in rows}
    assert states == {(0.001, TrialState.COMPLETED), (50.0, TrialState.DIVERGED)}
    for row in rows:
        assert row.last_step == 20 if row.state == TrialState.COMPLETED else 0 < row.last_step < 20
    assert charged(store) == 0


def test_a_trial_says_where_and_how_it_was_trained_and_the_log_can_be_searched_for_it(store, run, tiny_grid):
    experiment, dispatcher = run(tiny_grid())
    row = _trials(store, experiment)[0]
    assert row.provenance["kernels"] == NUMERICAL_VERSION
    named = {"service", "ray", "torch", "device", "processor", "dtype", "host", "node", "seconds", "stack_lanes"}
    assert named | {"steps_per_second"} <= set(row.provenance)
    assert None not in row.provenance.values()
    assert row.provenance["compiled_steps"] == has_compiler()
    started = [event for event in dispatcher.events() if event["event"] == "stack_started"]
    assert {one for event in started for one in event["experiment"]} == {experiment}
    assert sorted(one for event in started for one in event["trial"]) == [f"t{n}" for n in range(1, 7)]
    assert all(event["attempt"] == [1] and event["stack"] and event["node"] for event in started)
