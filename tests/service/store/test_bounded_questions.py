"""How many rows and points a question may hold at a time, and that taking them in pieces changes no number."""

import pytest
from reports import lease, report

from service.errors import QuestionTooLarge
from service.grid.expansion import expand
from service.questions.reductions import parse_reduction
from service.store import bulk_reads, curves, reports, series, submissions
from service.store.curves import CurveQuestion
from service.store.members import keys_of
from service.store.series import reduced_values

QUESTION = CurveQuestion(("training.weight_decay", "seed"), "train_loss", 1, ("mean", "std", "count", "q25"))


@pytest.fixture
def ended(store, tiny_grid):
    """An experiment of twelve completed trials with three measured steps each."""
    made = submissions.create_experiment(store, expand(tiny_grid(seeds=6))).id
    reports.record(store, report(lease(store), [0, 10, 20], ends=True), 30.0)
    return made


@pytest.mark.parametrize("at_once", [1, 5])
def test_groups_that_are_averaged_in_pieces_have_the_same_curves(store, ended, monkeypatch, at_once):
    for group_by in (QUESTION.group_by, ("training.weight_decay",), ()):
        question = CurveQuestion(group_by, "train_loss", 1, QUESTION.aggregates)
        whole = curves.curves(store, ended, question)
        with monkeypatch.context() as patch:
            patch.setattr(curves, "ROWS_AT_ONCE", 3 * at_once)
            patch.setattr(bulk_reads, "_FIRST_TRIALS", at_once)
            patch.setattr(bulk_reads, "_PIECE_BYTES", 100)
            assert curves.curves(store, ended, question) == whole
        assert sum(len(one["step"]) for one in whole) == 3 * len(whole) > 0


def test_more_rows_than_may_be_averaged_at_a_time_are_refused_with_what_to_narrow(store, ended, monkeypatch):
    monkeypatch.setattr(curves, "MOST_ROWS", 20)
    with pytest.raises(QuestionTooLarge, match=r"20 rows.*where.*group_by"):
        curves.curves(store, ended, CurveQuestion((), "train_loss", 1, ("mean",)))
    narrowed = CurveQuestion((), "train_loss", 1, ("mean",), where="training.weight_decay == 0")
    assert len(curves.curves(store, ended, narrowed)) == 1
    monkeypatch.setattr(curves, "ROWS_AT_ONCE", 18)
    assert len(curves.curves(store, ended, CurveQuestion(("training.weight_decay",), "train_loss", 1, ("mean",)))) == 2


def test_more_points_than_an_answer_may_have_are_refused(store, ended, monkeypatch):
    monkeypatch.setattr(curves, "MOST_POINTS", 30)
    with pytest.raises(QuestionTooLarge, match=r"30 points.*max_points"):
        curves.curves(store, ended, QUESTION)
    fewer = CurveQuestion(QUESTION.group_by, "train_loss", 1, ("mean",), max_points=2)
    assert len(curves.curves(store, ended, fewer)) == 12


def test_last_means_are_taken_some_trials_at_a_time(store, ended, monkeypatch):
    def values():
        with store.read() as connection:
            return reduced_values(connection, keys_of([1]), "train_loss", 1, parse_reduction("mean_last:2"))

    whole = values()
    monkeypatch.setattr(series, "_TRIALS_AT_ONCE", 5)
    assert values() == whole and len(whole) == 12
