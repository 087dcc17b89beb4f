"""Lists, owners and whoever looks every half second read no grids, which may be 4 MiB each."""

import pytest
from sqlalchemy import event

from service.store import control, experiments, submissions


@pytest.fixture
def statements(store):
    """What the store is asked."""
    found = []

    def note(_connection, _cursor, statement, *_):
        found.append(statement)

    event.listen(store._reader, "before_cursor_execute", note)
    yield found
    event.remove(store._reader, "before_cursor_execute", note)


def test_a_summary_is_what_an_experiment_says_and_no_grid_is_read_for_it(store, expansion, statements):
    made = submissions.create_experiment(store, expansion, owner="anna").id
    whole = experiments.get_experiment(store, made)
    (read,) = [one for one in statements if "experiment.grid" in one]
    # where it would be read, and parsed, once for each state of its trials
    assert "GROUP BY" not in read
    statements.clear()
    assert experiments.get_experiment(store, made, with_grid=False).claims == whole.claims
    assert not any("experiment.grid" in one for one in statements)
    statements.clear()
    one = experiments.get_summary(store, made)
    listed, _ = experiments.list_experiments(store, limit=10, before=None)
    assert experiments.experiments_of_trial(store, "t1") == listed == [one]
    assert experiments.owner_of(store, made) == "anna"
    assert not any("experiment.grid" in text or "experiment.claims" in text for text in statements)
    assert vars(one) == {name: value for name, value in vars(whole).items() if name not in ("grid", "claims")}


def test_a_snapshot_answers_every_question_from_one_state(store, expansion):
    made = submissions.create_experiment(store, expansion)
    with store.snapshot() as seen:
        before = experiments.get_summary(seen, made.id)
        control.pause_experiment(store, made.id)
        assert experiments.get_summary(seen, made.id) == before
        assert experiments.get_experiment(seen, made.id, with_grid=False).state == before.state == "queued"
    assert experiments.get_summary(store, made.id).state == "paused"
