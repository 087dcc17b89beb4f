"""The store against a model of it in plain dictionaries: any sequence of what clients and dispatchers may do."""

from collections import Counter
from dataclasses import replace
from typing import ClassVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from queue_model import Experiment, Held, Model, Trial
from scale import EXAMPLES, IS_SOAK
from sqlalchemy import delete, select, update

from service.grid.expansion import expand
from service.store import control, leases, reports, settling, submissions, tallies, trial_rows
from service.store.ids import experiment_number
from service.store.measured_models import measurement
from service.store.models import holder, incarnation, measured_range, trial
from service.store.reports import End, Report
from service.store.session import Store
from service.store.tables import metadata

SEEDS = range(6)
LEASE = 1000.0
GRID = {
    "trial": {
        "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 2, "width": 4},
        "training": {"steps": 20},
    },
}


class Machine(RuleBasedStateMachine):
    """Does the same to the store and to the model."""

    store: ClassVar[Store]
    experiments = Bundle("experiments")

    def __init__(self) -> None:
        super().__init__()
        self.model, self.held, self.told = Model(), list[Held](), set[tuple[int, int]]()
        with self.store.write() as connection:
            for table in reversed(metadata.sorted_tables):
                if table not in (incarnation, measured_range):
                    connection.execute(delete(table))

    @rule(target=experiments, seeds=st.sets(st.sampled_from(SEEDS), min_size=1))
    def submit(self, seeds):
        new = {s for s in seeds if s not in self.model.trials or self.model.is_cancelled(s)}
        grid = _grid(seeds)
        made = submissions.create_experiment(self.store, expand(grid), document=grid)
        assert (made.new, made.reused) == (len(new), len(seeds) - len(new))
        for seed in new:
            self.model.trials.setdefault(seed, Trial())
            self.model.again(seed)
        self.model.experiments[made.id] = Experiment(frozenset(seeds), set(seeds))
        self.model.settle(made.id)
        return made.id

    @rule(name=experiments, more=st.sets(st.sampled_from(SEEDS), min_size=1))
    def extend(self, name, more):
        if name in self.model.experiments:
            made = self.model.experiments[name]
            wider = made.seeds | more
            new = {s for s in wider - made.seeds if s not in self.model.trials or self.model.is_cancelled(s)}
            before, after = _grid(made.seeds), _grid(wider)
            added = submissions.extend_experiment(self.store, name, expand(after), before, after)
            assert (added.total, added.new) == (len(wider), len(new))
            for seed in new:
                self.model.trials.setdefault(seed, Trial())
                self.model.again(seed)
            made.wanted |= wider - made.seeds
            made.seeds = frozenset(wider)
            self.model.settle(name)

    @rule(lanes=st.integers(1, 6))
    def lease(self, lanes):
        may_run = self.model.may_run()
        leased = leases.lease_stack(self.store, "d", lease_seconds=LEASE, choose=lambda s, waiting: lanes)
        if may_run and not leased:
            leased = self._lease_later(lanes)
        assert {one.seed for one in leased} <= may_run
        assert bool(leased) is bool(may_run)
        for one in leased:
            mine = self.model.trials[one.seed]
            mine.state, mine.attempt = "running", mine.attempt + 1
            assert one.attempt == mine.attempt
            self.held.append(Held(mine, one))

    def _any_held(self, data) -> Held:
        return data.draw(st.sampled_from(self.held))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), ends=st.booleans(), is_repeat=st.booleans())
    def record(self, data, ends, is_repeat):
        self._record(self._any_held(data), ends=ends, is_repeat=is_repeat)

    def _record(self, held, *, ends, is_repeat=False):
        step = held.step + 1
        report = _report(held.leased, step, is_first=held.step < 0, ends=ends)
        ours = self.model.holds(held)
        for _ in range(1 + (is_repeat and not ends)):
            gone = reports.record(self.store, report, LEASE)
            assert gone == (frozenset() if ours else frozenset({held.leased.trial_id}))
            report = replace(report, is_repeat=True)
        if ours:
            one = held.trial
            one.rows = {step} if held.step < 0 else one.rows | {step}
            one.state = "completed" if ends else one.state
            held.step, held.given_up = step, ends

    @precondition(lambda self: self.held)
    @rule(data=st.data(), charge=st.booleans())
    def fail(self, data, charge):
        held = self._any_held(data)
        ours, key = self.model.holds(held), held.leased.trial_id
        end = End(key, "failed", None, "why", {})
        gone = reports.fail(self.store, key, held.leased.attempt, end, charge=charge)
        assert gone == (frozenset() if ours else frozenset({key}))
        if ours:
            one = held.trial
            one.state, one.failures = "failed", one.failures + charge
            held.given_up = True

    @precondition(lambda self: self.held)
    @rule(data=st.data(), charge=st.booleans(), lost=st.booleans())
    def restart(self, data, charge, lost):
        held = self._any_held(data)
        pair = (held.leased.trial_id, held.leased.attempt)
        ours = self.model.holds(held)
        found = leases.restart(self.store, [pair], LEASE, charge=charge, error="crashed", lost=lost)
        assert found == ({pair[0]: pair[1] + 1} if ours else {})
        if ours:
            one = held.trial
            one.attempt, one.failures = one.attempt + 1, one.failures + charge
            held.given_up = True
            self.held.append(Held(one, held.leased._replace(attempt=one.attempt)))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data):
        held = self._any_held(data)
        leases.release(self.store, [(held.leased.trial_id, held.leased.attempt)])
        if self.model.holds(held):
            held.trial.state, held.given_up = "queued", True

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def renew(self, data):
        held = self._any_held(data)
        gone = leases.renew(self.store, [(held.leased.trial_id, held.leased.attempt)], LEASE)
        assert bool(gone) is not self.model.holds(held)

    @rule()
    def renew_all(self):
        renewed = leases.renew_all(self.store, "d", LEASE)
        assert not self.told & renewed.taken, "once"
        self.told |= renewed.taken
        for held in self.held:
            if self.model.holds(held):
                assert held.pair not in self.told
            else:
                assert held.given_up or held.pair in self.told

    @rule(data=st.data())
    def lose_answers_and_reconcile(self, data):
        lost = data.draw(st.sets(st.sampled_from(self.held).map(id))) if self.held else set()
        believed = [held for held in self.held if id(held) not in lost]
        gone = leases.reconcile(self.store, "d", [held.pair for held in believed])
        assert gone == {held.pair for held in believed if not self.model.holds(held)}
        for held in self.held:
            if id(held) in lost and self.model.holds(held):
                held.trial.state, held.given_up = "queued", True

    @rule()
    def let_the_holders_lease_run_out(self):
        with self.store.write() as connection:
            connection.execute(update(holder).values(until=holder.c.until - LEASE - 1))
        self._sweep()

    @rule()
    def let_leases_run_out(self):
        with self.store.write() as connection:
            connection.execute(update(trial).where(trial.c.state == "running").values(lease_until=-1.0))
        self._sweep()

    def _sweep(self):
        running = [one for one in self.model.trials.values() if one.state == "running"]
        assert leases.sweep(self.store) == len(running)
        for one in running:
            one.state = "queued"

    @rule(name=experiments)
    def cancel(self, name):
        if name in self.model.experiments:
            control.cancel_experiment(self.store, name)
            self.model.cancel(name)

    @rule(name=experiments, paused=st.booleans())
    def pause_or_resume(self, name, paused):
        if name in self.model.experiments:
            (control.pause_experiment if paused else control.resume_experiment)(self.store, name)
            self.model.pause_or_resume(name, paused=paused)

    @rule(name=experiments, which=st.sampled_from(["failed", "cancelled"]))
    def retry(self, name, which):
        if name in self.model.experiments:
            control.retry_experiment(self.store, name, which)
            made = self.model.experiments[name]
            if which == "cancelled":
                made.wanted = set(made.seeds)
            for seed in made.wanted:
                if self.model.trials[seed].state == which:
                    self.model.again(seed)
            self.model.settle(name)

    @rule(name=experiments)
    def delete(self, name):
        if name in self.model.experiments:
            control.delete_experiment(self.store, name)
            self.model.cancel(name)
            seeds = self.model.experiments.pop(name).seeds
            for seed in seeds:
                if not any(seed in one.seeds for one in self.model.experiments.values()):
                    del self.model.trials[seed]

    @invariant()
    def agree(self):
        with self.store.read() as connection:
            found = connection.execute(
                select(trial.c.id, trial.c.seed, trial.c.state, trial.c.attempt, trial.c.failures)
            ).all()
            rows = connection.execute(select(measurement.c.trial_id, measurement.c.step)).all()
            assert tallies.differences(connection) == []
            states = self._states(connection, found)
        stored = {
            row.seed: Trial(states[row.id], row.attempt, row.failures, {step for key, step in rows if key == row.id})
            for row in found
        }
        assert stored == self.model.trials
        assert len(rows) == sum(len(one.rows) for one in stored.values())

    def _states(self, connection, found):
        return {row.id: row.state for row in found}

    def _lease_later(self, lanes):
        return []


class Later(Machine):
    """The same of experiments whose trials follow one at a time: what is decided holds before any of them has."""

    @initialize(
        target=Machine.experiments,
        lanes=st.integers(1, 6),
        decisions=st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=6, max_size=6),
    )
    def decide_in_any_order(self, lanes, decisions):
        """What random steps seldom come to: several decisions about what runs, and has more trials than a piece."""
        names = self.submit({0, 1, 2, 3}), self.submit({2, 3, 4})
        self.lease(lanes)
        for which, is_second in decisions:
            name = names[is_second]
            whats = (
                lambda one: self.pause_or_resume(one, paused=True),
                self.cancel,
                lambda _: self.let_some_follow(),
                lambda _: self._train(lanes),
                lambda one: self.pause_or_resume(one, paused=False),
                lambda one: self.retry(one, "cancelled"),
                lambda one: self.extend(one, {0, 5}),
                lambda one: self.change_priority(one, 1),
                self.delete,
            )
            whats[which](name)
            self.agree()
            self.experiments_see_what_holds()
        return multiple(*names)

    def _train(self, lanes):
        """Let some of what waits, and all that runs, end."""
        self.lease(lanes)
        for held in [one for one in self.held if self.model.holds(one)]:
            self._record(held, ends=True)

    @rule(name=Machine.experiments, priority=st.integers(0, 2))
    def change_priority(self, name, priority):
        if name in self.model.experiments:
            control.change_experiment(self.store, name, {"priority": priority})

    @rule()
    def let_some_follow(self):
        looks = iter([False])
        settling.settle_all(self.store, lambda: next(looks, True))

    @invariant()
    def experiments_see_what_holds(self):
        with self.store.read() as connection:
            for name, made in self.model.experiments.items():
                number = experiment_number(name)
                seen = {
                    seed: self.model.trials[seed].state if seed in made.wanted else "cancelled" for seed in made.seeds
                }
                assert {one.seed: one.state for one in trial_rows.trials_of(connection, number)} == seen
                counts = tallies.tallies(connection, [number])[number].counts
                assert +Counter(counts) == Counter(seen.values()), name

    def _states(self, connection, found):
        seen = {row.id: trial_rows.trial_by_key(connection, row.id) for row in found}
        return {key: one.state.value for key, one in seen.items() if one}

    def _lease_later(self, lanes):
        # those that somebody else wants too wait until what held them is settled
        assert settling.settle_all(self.store)
        return leases.lease_stack(self.store, "d", lease_seconds=LEASE, choose=lambda s, waiting: lanes)


def _grid(seeds):
    return GRID | {"seeds": sorted(seeds)}


def _report(leased, step, *, is_first, ends):
    keys = {"lane": pa.array([0], pa.int32()), "step": pa.array([step], pa.int64())}
    values, layer = pa.array([0.5]), pa.array([1], pa.int16())
    nothing = {"layer": layer[:0], "name": pa.array([], pa.string()), "value": values[:0]}
    return Report(
        ((leased.trial_id, leased.attempt),),
        frozenset({0}),
        is_first,
        pa.record_batch({**keys, "time": values, "train_loss": values}),
        pa.record_batch({**keys, "layer": layer, "alignment": values}),
        pa.record_batch({**{name: column[:0] for name, column in keys.items()}, **nothing}),
        (End(leased.trial_id, "completed", step, None, {}),) if ends else (),
    )


@pytest.mark.parametrize("machine", [Machine, Later])
def test_the_store_does_what_a_model_of_it_does(store, machine, monkeypatch):
    class OnStore(machine):
        pass

    if machine is Later:
        monkeypatch.setattr(settling, "PIECE", 1)
    OnStore.store = store
    often = settings(
        max_examples=EXAMPLES if machine is Machine or IS_SOAK else EXAMPLES // 3,
        # the same examples in every `make test`, others in every soak
        derandomize=not IS_SOAK,
        stateful_step_count=30,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(OnStore, settings=often)
