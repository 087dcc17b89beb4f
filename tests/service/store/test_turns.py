"""Whose trials are leased next."""

from service.grid.expansion import expand
from service.store import control, leases, submissions


def _submit(store, tiny_grid, decay, *, owner="ann", seeds=4, **more):
    """An experiment whose trials have a shape of their own unless `decay` is shared."""
    axes = {"training.steps": [int(20 + decay)], "network.width": [int(4 + decay)]}
    grid = tiny_grid(axes=axes, seeds=seeds, **more)
    return submissions.create_experiment(store, expand(grid), owner=owner).id


def _turns(store, count, *, lanes=1):
    """Steps, which tell experiments apart, of the heads of the next leases."""
    heads = []
    for _ in range(count):
        leased = leases.lease_stack(store, "d", lease_seconds=30, choose=lambda s, waiting: lanes)
        heads.append(leased[0].settings["training"]["steps"] - 20 if leased else None)
    return heads


def _finish_all(store):
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE trial SET state = 'completed', queued_for = NULL WHERE state = 'running'")


def test_owners_take_turns_and_then_each_owners_experiments(store, tiny_grid):
    for decay, owner in ((0, "ann"), (1, "ann"), (2, "bob")):
        _submit(store, tiny_grid, decay, owner=owner)
    assert _turns(store, 8) == [0, 2, 1, 2, 0, 2, 1, 2]


def test_turns_are_taken_also_when_nothing_runs_at_the_moment(store, tiny_grid):
    for decay, owner in ((0, "ann"), (2, "bob")):
        _submit(store, tiny_grid, decay, owner=owner)
    order = []
    for _ in range(6):
        order += _turns(store, 1)
        _finish_all(store)
    assert order == [0, 2, 0, 2, 0, 2]


def test_who_has_the_fewest_running_trials_comes_first(store, tiny_grid):
    _submit(store, tiny_grid, 0, owner="ann", seeds=30)
    assert _turns(store, 1, lanes=5) == [0]
    _submit(store, tiny_grid, 2, owner="bob", seeds=30)
    assert _turns(store, 7) == [2, 2, 2, 2, 2, 0, 2]


def test_priority_goes_before_turns_and_may_change_while_waiting(store, tiny_grid):
    low = _submit(store, tiny_grid, 0)
    _submit(store, tiny_grid, 1, priority=3)
    assert _turns(store, 2) == [1, 1]
    control.change_experiment(store, low, {"priority": 9})
    assert _turns(store, 2) == [0, 0]


def test_a_small_experiment_inside_a_large_one_does_not_wait_for_it(store, tiny_grid):
    large = expand(tiny_grid(axes={}, seeds=50))
    small = expand(tiny_grid(axes={}, seeds=[48, 49]))
    submissions.create_experiment(store, large, owner="ann")
    submissions.create_experiment(store, small, owner="bob")
    seeds = [leases.lease_stack(store, "d", lease_seconds=30, choose=lambda s, waiting: 1)[0].seed for _ in range(4)]
    assert {48, 49} < set(seeds)


def test_others_of_the_same_shape_ride_along_after_those_whose_turn_it_is(store, tiny_grid):
    submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=[1, 2])), owner="ann")
    bobs = submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=[3, 4])), owner="bob")
    control.change_experiment(store, bobs.id, {"name": "other"})
    assert _turns(store, 1) == [0]
    leased = leases.lease_stack(store, "d", lease_seconds=30, choose=lambda s, waiting: 10)
    assert [one.seed for one in leased] == [3, 4, 2]


def test_leasing_reads_an_index_however_long_the_queue_is(store, tiny_grid):
    from sqlalchemy import event

    submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=8000)))
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE trial SET state = 'completed', queued_for = NULL WHERE seed < 7000")
    submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=list(range(9000, 9500)))))
    seen = []

    def note(_connection, _cursor, statement, parameters, *_):
        if statement.lstrip().startswith(("SELECT", "WITH")) and "trial" in statement:
            seen.append((statement, parameters))

    with store.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    event.listen(store._writer, "before_cursor_execute", note)
    _turns(store, 1)
    event.remove(store._writer, "before_cursor_execute", note)
    with store.read() as connection:
        for statement, parameters in seen:
            explain = "EXPLAIN " if store.dialect == "postgresql" else "EXPLAIN QUERY PLAN "
            rows = connection.exec_driver_sql(explain + statement, parameters).all()
            plan = "\n".join(str(row[-1]) for row in rows)
            assert "Seq Scan on trial" not in plan and "SCAN trial\n" not in plan + "\n", f"{statement}\n{plan}"
            assert "TEMP B-TREE" not in plan or "running" in statement, f"{statement}\n{plan}"
