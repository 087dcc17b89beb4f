"""What `nfa gc` and thinning delete, what they leave, and that the disk has the room afterwards."""

import threading
from datetime import timedelta

import numpy as np
from reports import lease, report
from sqlalchemy import delete, func, select, update

from service.grid.expansion import expand
from service.store import cluster, control, datasets, reports, retention, submissions, thinning, versions
from service.store.measured_models import checkpoint, final, layer_measurement, measurement
from service.store.models import dataset, dispatcher, experiment_trial, idempotency, trial
from service.store.session import utc_now
from service.store.trials import get_trial

STEPS = list(range(0, 110, 10))


def _count(store, table):
    with store.read() as connection:
        return connection.scalar(select(func.count()).select_from(table))


def _steps(store, table=measurement):
    with store.read() as connection:
        rows = connection.execute(select(table.c.trial_id, table.c.step).order_by(table.c.trial_id, table.c.step))
        found = {}
        for key, step in rows:
            found.setdefault(key, []).append(step)
    return found


def test_gc_finds_in_a_dry_run_what_it_then_deletes_and_nothing_else(store, expansion):
    kept = submissions.create_experiment(store, expansion, idempotency_key="old")
    submissions.create_experiment(store, expansion, idempotency_key="new")
    cluster.register_dispatcher(store, "dead", "h", 1, 2, {})
    cluster.register_dispatcher(store, "alive", "h", 1, 2, {})
    for sha256 in ("a" * 64, "b" * 64):
        datasets.add_dataset(store, sha256, "n", {"x": np.zeros((2, 2))})
    reports.record(store, report(lease(store), STEPS, ends=True), 30.0)
    long_ago = utc_now() - timedelta(days=30)
    with store.write() as connection:
        connection.execute(update(idempotency).where(idempotency.c.key == "old").values(created_at=long_ago))
        connection.execute(update(dispatcher).where(dispatcher.c.id == "dead").values(seen_at=long_ago))
        connection.execute(update(dataset).where(dataset.c.sha256 == "a" * 64).values(created_at=long_ago))
        connection.execute(checkpoint.insert().values(trial_id=1, content=b"x" * 1000))
        connection.execute(delete(experiment_trial).where(experiment_trial.c.trial_id == 6))

    foreseen = retention.collect(store, dry_run=True)
    assert _count(store, trial) == 6 and _count(store, dataset) == 2
    assert {one.what: one.rows for one in foreseen} == {
        "trials of no experiment": 1,
        "checkpoints of ended trials": 1,
        "expired idempotency keys": 1,
        "datasets that nothing names": 1,
        "dead dispatchers": 1,
    }
    sizes = {one.what: one.bytes for one in foreseen}
    assert 1000 <= sizes["checkpoints of ended trials"] < 1100
    # network and layer rows have a key, a step and a value at least
    assert sizes["trials of no experiment"] > 2 * len(STEPS) * 3 * 8
    assert retention.collect(store) == foreseen
    assert [one.rows for one in retention.collect(store)] == [0] * 5
    assert _count(store, trial) == 5 == _count(store, final) and _count(store, measurement) == 5 * len(STEPS)
    assert submissions.create_experiment(store, expansion, idempotency_key="new").is_replay
    assert not submissions.create_experiment(store, expansion, idempotency_key="old").is_replay
    assert get_trial(store, "t1") and kept.total == 6


def test_data_that_a_grid_or_a_trial_names_stays(store, tiny_grid):
    sha256 = "c" * 64
    datasets.add_dataset(store, sha256, "n", {"x": np.zeros((8, 4)), "y": np.zeros((8, 2))})
    grid = tiny_grid(axes={}, seeds=1)
    grid["trial"] = grid["trial"] | {"data": {"kind": "uploaded", "dataset_id": sha256}}
    submissions.create_experiment(store, expand(grid, datasets=datasets.dataset_shapes(store, [sha256])))
    with store.write() as connection:
        connection.execute(update(dataset).values(created_at=utc_now() - timedelta(days=30)))
    assert sum(one.rows for one in retention.collect(store)) == 0
    control.delete_experiment(store, "e1")
    assert {one.what for one in retention.collect(store) if one.rows} == {"datasets that nothing names"}


def test_no_row_outlives_its_trial_whoever_deletes_while_it_is_recorded(store, tiny_grid):
    for first in range(0, 60, 3):
        made = submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=[first, first + 1, first + 2])))
        leased, both = lease(store), threading.Barrier(2)

        def record(leased=leased, both=both):
            both.wait(10)
            for start in range(0, 40, 10):
                steps = list(range(start, start + 10))
                reports.record(store, report(leased, steps, first=start == 0, ends=start == 30), 30.0)

        recorder = threading.Thread(target=record)
        recorder.start()
        both.wait(10)
        control.delete_experiment(store, made.id)
        recorder.join(30)
    assert [_count(store, table) for table in (trial, measurement, layer_measurement)] == [0, 0, 0]


def test_deleting_an_experiment_frees_the_disk_after_a_vacuum(store, tiny_grid):
    empty = retention.size_on_disk(store)
    submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=100)))
    reports.record(store, report(lease(store, lanes=1000), list(range(300)), ends=True), 30.0)
    full = retention.size_on_disk(store)
    assert full > empty + 2_000_000
    control.delete_experiment(store, "e1")
    retention.vacuum(store, full=True)
    freed = full - retention.size_on_disk(store)
    assert freed > 0.9 * (full - empty)


def test_thinning_keeps_every_nth_step_the_first_the_last_and_final_values(store, expansion):
    created = submissions.create_experiment(store, expansion)
    reports.record(store, report(lease(store), STEPS, ends=True), 30.0)
    before, tag = get_trial(store, "t1"), versions.version_of(store, [created.id])
    done = thinning.thin_experiment(store, created.id, 4)
    kept = [0, 40, 80, 100]
    assert _steps(store) == _steps(store, layer_measurement) == dict.fromkeys(range(1, 7), kept)
    assert (done.thinned, done.rows) == (6, 6 * 2 * (len(STEPS) - len(kept)))
    after = get_trial(store, "t1")
    assert after.final == before.final and after.row.provenance == {"host": "h", "kept_every": 4}
    assert versions.version_of(store, [created.id]) != tag, "cached answers are out of date"

    again = thinning.thin_experiment(store, created.id, 4)
    assert (again.thinned, again.rows) == (6, 0), "a repeat deletes nothing"
    assert thinning.thin_experiment(store, created.id, 6).unfit == 6
    thinning.thin_experiment(store, created.id, 8)
    assert _steps(store)[1] == [0, 80, 100]


def test_thinning_leaves_what_runs_and_what_others_hold(store, tiny_grid):
    created = submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=4)))
    submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=1)))
    leased = sorted(lease(store) + lease(store))
    reports.record(store, report(leased[:3], STEPS, ends=True), 30.0)
    done = thinning.thin_experiment(store, created.id, 5)
    assert (done.thinned, done.shared, done.unfinished) == (2, 1, 1)
    assert sorted(map(len, _steps(store).values())) == [3, 3, len(STEPS)]
