"""What an experiment shows where nobody names a metric or a layer."""

import pytest

from service.questions.shown_first import Shown, shown_first


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (None, Shown("alignment", 1)),
        ({"metrics": "all", "layers": "all"}, Shown("alignment", 1)),
        ({"metrics": ["train_loss", "alignment", "residual"]}, Shown("alignment", 1)),
        ({"metrics": ["modes", "agop_singular_value@1"]}, Shown("agop_singular_value@1", 1)),
        ({"metrics": ["best_exponent_kind", "sharpness"]}, Shown("sharpness", 1)),
        ({"metrics": []}, Shown("train_loss", 1)),
        ({"layers": [2, 1]}, Shown("alignment", 1)),
        ({"layers": [3, 2]}, Shown("alignment", 3)),
        ({"layers": ["conv2", "head"]}, Shown("alignment", "conv2")),
    ],
)
def test_it_is_the_alignment_of_layer_1_or_what_is_measured_instead(measure, expected):
    assert shown_first({"trial": {"measure": measure}} if measure else {}) == expected


def test_it_is_said_as_a_title_begins():
    assert Shown("alignment", 1).says == "Alignment of layer 1"
    assert Shown("residual", "conv2").says == "residual of layer conv2"
    assert Shown("sharpness", 1).says == "sharpness"
