"""Blocks that are written together are fenced one by one: each counts under the attempt that it names, or not."""

from reports import LEASE, lease, report
from sqlalchemy import select

from service.grid.expansion import expand
from service.store import leases, reports, submissions
from service.store.measured_models import layer_measurement
from service.store.models import trial


def test_a_block_of_an_earlier_attempt_is_not_written_beside_one_of_the_present(store, tiny_grid):
    submissions.create_experiment(store, expand(tiny_grid(seeds=1, axes={})))
    earlier = lease(store)
    leases.release(store, [one.held for one in earlier])
    present = lease(store)
    assert [one.trial_id for one in earlier] == [one.trial_id for one in present]
    late = report(earlier, [0, 20], value=0.1, ends=True)
    gone, kept = reports.record_all(store, [late, report(present, [0], value=0.9)], LEASE)
    assert (gone, kept) == ({earlier[0].trial_id}, set())
    with store.read() as connection:
        rows = connection.execute(select(layer_measurement.c.step, layer_measurement.c.alignment)).all()
        assert rows == [(0, 0.9)]
        assert connection.scalars(select(trial.c.state)).all() == ["running"]
