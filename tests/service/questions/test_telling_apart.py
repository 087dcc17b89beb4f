"""Which axes a figure tells apart by itself."""

import pytest

from service.questions.telling_apart import Channels, told_apart

DECAY, WIDTH, DEPTH, WORD = "training.weight_decay", "network.width", "network.depth", "network.activation"
SIZES = {DECAY: [0, 0.1, 0.2, 0.3, 0.4, 0.5], WIDTH: [8, 16], DEPTH: [2, 3, 4], WORD: ["tanh", "relu"]}


def grid(*paths):
    return {"axes": {path: SIZES[path] for path in paths}}


@pytest.mark.parametrize(
    ("paths", "channels"),
    [
        ([], Channels("seed", None, ())),
        ([DECAY], Channels(DECAY, None, ())),
        ([DEPTH, DECAY], Channels(DECAY, None, (DEPTH,))),
        ([DECAY, WORD, DEPTH], Channels(DECAY, WORD, (DEPTH,))),
        ([DECAY, WIDTH, DEPTH, WORD], Channels(DECAY, WIDTH, (DEPTH, WORD))),
    ],
)
def test_every_axis_that_varies_is_told_apart(paths, channels):
    assert told_apart(paths, grid(*paths)) == channels


def test_what_is_asked_for_stays_and_the_rest_is_told_apart_around_it():
    paths = [DECAY, WIDTH, DEPTH, WORD]
    assert told_apart(paths, grid(*paths), color=DEPTH) == Channels(DEPTH, WIDTH, (DECAY, WORD))
    assert told_apart(paths, grid(*paths), facet="none") == Channels(DECAY, WIDTH, ())
    assert told_apart(paths, grid(*paths), dash="none", facet=f"{WIDTH}, {DEPTH}") == Channels(
        DECAY, None, (WIDTH, DEPTH)
    )
    assert told_apart(paths, grid(*paths), color=DECAY, dash=DECAY, facet=DECAY) == Channels(DECAY, None, ())


def test_an_axis_of_one_value_and_what_moves_with_another_are_left_out():
    moving = {"axes": {WIDTH: [8]}, "zip": [{DEPTH: [2, 3], DECAY: [0.1, 0.2]}]}
    assert told_apart([WIDTH, DEPTH, DECAY], moving) == Channels(DEPTH, None, ())


def test_there_are_never_more_panels_than_can_be_looked_at():
    paths = ["data.samples", "data.inputs", "data.noise", "data.outputs"]
    many = {"axes": {path: list(range(1, 9)) for path in paths}}
    assert told_apart(paths, many) == Channels("data.samples", None, ("data.outputs",))
