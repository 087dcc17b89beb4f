"""Whose trials are leased next."""

from sqlalchemy import select

from service.grid.expansion import expand
from service.store import control, leases, submissions
from service.store.models import settings, trial


def _submit(store, tiny_grid, decay, *, owner="ann", seeds=4, **more):
    """An experiment whose trials have a shape of their own unless `decay` is shared."""
    axes = {"training.steps": [int(20 + decay)], "network.width": [int(4 + decay)]}
    grid = tiny_grid(axes=axes, seeds=seeds, **more)
    return submissions.create_experiment(store, expand(grid), owner=owner).id


def _turns(store, count, *, lanes=1, but=()):
    """Steps, which tell experiments apart, of the heads of the next leases."""
    heads = []
    for _ in range(count):
        leased = leases.lease_stack(store, "d", lease_seconds=30, choose=lambda s, waiting: lanes, but=but)
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


def _keys(store):
    """Stack keys of all trials, by what tells experiments apart."""
    with store.read() as connection:
        rows = connection.execute(select(settings.c.document, trial.c.stack_key).join_from(settings, trial)).all()
    return {row.document["training"]["steps"] - 20: row.stack_key for row in rows}


def test_turns_are_the_same_past_stack_keys_that_are_passed_over(store, tiny_grid):
    for decay, owner, priority in ((0, "ann", 9), (1, "ann", 3), (2, "ann", 3), (3, "bob", 3), (4, "bob", 1)):
        _submit(store, tiny_grid, decay, owner=owner, seeds=2, priority=priority)
    keys = _keys(store)
    assert _turns(store, 3, but=[keys[0]]) == [1, 3, 2]
    assert _turns(store, 3, but=[keys[0], keys[1]]) == [3, 2, 4]
    assert _turns(store, 1, but=list(keys.values())) == [None]
    assert _turns(store, 1) == [0]


def test_the_head_of_what_is_not_passed_over_is_the_first_of_its_experiment(store, tiny_grid):
    submissions.create_experiment(store, expand(tiny_grid(axes={"network.width": [4, 5, 6, 7]}, seeds=2)))
    with store.read() as connection:
        keys = list(connection.scalars(select(trial.c.stack_key).order_by(trial.c.id)))
    [leased] = leases.lease_stack(store, "d", lease_seconds=30, choose=lambda s, waiting: 1, but=keys[:2])
    assert (leased.stack_key, leased.settings["network"]["width"]) == (keys[2], [5])


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

    submissions.create_experiment(store, expand(tiny_grid(axes={"network.width": [[5], [6]]}, seeds=2)))
    with store.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    event.listen(store._writer, "before_cursor_execute", note)
    [of_all] = _turns(store, 1)
    assert _turns(store, 1, but=[_keys(store)[of_all]]) != [None]
    event.remove(store._writer, "before_cursor_execute", note)
    with store.read() as connection:
        for statement, parameters in seen:
            explain = "EXPLAIN " if store.dialect == "postgresql" else "EXPLAIN QUERY PLAN "
            rows = connection.exec_driver_sql(explain + statement, parameters).all()
            plan = "\n".join(str(row[-1]) for row in rows)
            assert "Seq Scan on trial" not in plan and "SCAN trial\n" not in plan + "\n", f"{statement}\n{plan}"
            if "heads" in statement:
                assert "ix_trial_queue" not in plan and "(stack_key,priority" not in plan, f"{statement}\n{plan}"
            assert "TEMP B-TREE" not in plan or "running" in statement, f"{statement}\n{plan}"
