"""What a trainer tells of several stacks that it was given together."""

import pytest

from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.blocks import Block, Broken, Lane, Stack
from workers.trainer import Trainer


@pytest.fixture
def trainer():
    """A trainer in this process, which it neither renices nor ties to its parent."""
    made = Trainer.__new__(Trainer)
    made._share, made._device, made._refusal, made._stopped = 0.0, "cpu", None, {}
    return made


def _stack(width, **training):
    document = {
        "data": {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 2, "width": width},
        "measure": {"points": 4, "metrics": ["train_loss"]},
        "training": {"steps": 2_000} | training,
    }
    settings = canonical(TrialSettings.model_validate(document))
    return Stack((Lane(settings, 0), Lane(settings, 1)))


def _ends(told):
    return {end.lane: end.step for end in told.what.ended}


def test_ends_that_follow_shortly_after_each_other_are_told_together(trainer):
    [told] = trainer.train([_stack(4), _stack(5)], 1e9, 1e9)
    assert [one.place for one in told] == [0, 1] and all(one.is_end for one in told)
    assert [_ends(one) for one in told] == [{0: 2_000, 1: 2_000}] * 2
    assert all(0 < one.seconds < 1e9 for one in told)


def test_each_is_told_by_itself_where_it_takes_as_long_as_a_block(trainer):
    told = [one for one in trainer.train([_stack(4), _stack(5)], 0.0, 1e9) if one[-1].is_end]
    assert [one[-1].place for one in told] == [0, 1]


def test_lanes_are_dropped_of_the_stack_that_is_named_alone(trainer):
    stream = trainer.train([_stack(4), _stack(5)], 0.0, 1e9)
    first = next(one for told in stream for one in told if one.is_end)
    trainer.stop(0, frozenset({1}))
    trainer.stop(1, frozenset({0}))
    rest = [one for told in stream for one in told]
    assert first.place == 0 and _ends(first) == {0: 2_000, 1: 2_000}
    assert {one.place for one in rest} == {1}
    assert {lane: step for one in rest for lane, step in _ends(one).items()} == {1: 2_000}


def test_one_that_raises_does_not_end_the_others(trainer):
    bad = _stack(4)
    broken = Stack((bad.lanes[0], Lane(bad.lanes[1].settings | {"data": {"kind": "nothing"}}, 1)))
    told = [one for some in trainer.train([broken, _stack(5)], 1e9, 1e9) for one in some]
    assert [type(one.what) for one in told] == [Broken, Block]
    assert [one.place for one in told] == [0, 1] and _ends(told[1]) == {0: 2_000, 1: 2_000}
