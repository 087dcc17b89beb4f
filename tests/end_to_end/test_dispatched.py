"""A grid goes in, a dispatcher in a process of its own trains it on Ray, rows and verdicts come out.

One dispatcher for each database trains the grids of all these tests: to start it takes longer than to train them.
"""

import pytest
from compilers import has_compiler
from processes import charged, dispatching, trainers, wait_for_end, wait_until

from nfa_kernels.names import NUMERICAL_VERSION
from service.grid.expansion import expand
from service.questions.claimed_grids import read_claimed
from service.questions.judging import judge
from service.states import TrialState
from service.store import ids, submissions, trials
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


@pytest.fixture(scope="module")
def dispatcher(shared_store, ray_head, tmp_path_factory):
    """A dispatcher with a trainer that is up."""
    url = shared_store.url.render_as_string(hide_password=False)
    with dispatching(url, ray_head, tmp_path_factory.mktemp("dispatcher")) as dispatchers:
        # a lease that outlasts a pause of the machine: every trial is leased once
        started = dispatchers.start(NFA_LEASE_SECONDS="60")
        wait_until(lambda: trainers(shared_store))
        yield started


@pytest.fixture
def run(shared_store, dispatcher):
    """Submits a grid and has it trained to the end; answers the experiment."""

    def go(grid):
        experiment = submissions.create_experiment(shared_store, expand(grid)).id
        wait_for_end(shared_store, experiment)
        return experiment

    return go


def test_a_weight_decay_sweep_ends_with_verdicts(shared_store, run):
    experiment = run(WEIGHT_DECAY)
    rows = _trials(shared_store, experiment)
    assert len(rows) == 16
    assert {row.state for row in rows} == {TrialState.COMPLETED}
    claims = read_claimed(WEIGHT_DECAY).claims
    found = claim_rows(shared_store, experiment, claims)
    assert [judge(claim, found[claim.id]).holds for claim in claims] == [True, False]
    assert charged(shared_store) == 0


def test_a_diverging_trial_ends_diverged_at_its_step_while_its_stack_completes(shared_store, run, tiny_grid):
    rates = [0.001, 50.0]
    grid = tiny_grid(axes={"training.learning_rate": rates}, seeds=2)
    experiment = run(grid)
    rows = _trials(shared_store, experiment)
    states = {(row.settings["training"]["learning_rate"], row.state) for row in rows}
    assert states == {(0.001, TrialState.COMPLETED), (50.0, TrialState.DIVERGED)}
    for row in rows:
        assert row.last_step == 20 if row.state == TrialState.COMPLETED else 0 < row.last_step < 20
    assert charged(shared_store) == 0


def test_a_trial_says_where_and_how_it_was_trained_and_the_log_can_be_searched_for_it(
    shared_store, run, dispatcher, tiny_grid
):
    experiment = run(tiny_grid())
    rows = _trials(shared_store, experiment)
    found = rows[0].provenance
    assert found["kernels"] == NUMERICAL_VERSION
    named = {"service", "ray", "torch", "device", "processor", "dtype", "host", "node", "seconds", "stack_lanes"}
    assert named | {"steps_per_second"} <= set(found)
    assert None not in found.values()
    assert found["compiled_steps"] == has_compiler()
    names = {ids.trial_id(row.id) for row in rows}
    started = [event for event in dispatcher.events("stack_started") if names & {*event["trial"]}]
    assert {one for event in started for one in event["experiment"]} == {experiment}
    assert sorted(one for event in started for one in event["trial"]) == sorted(names)
    assert len(names) == 6
    assert all(event["attempt"] == [1] and event["stack"] and event["node"] for event in started)
