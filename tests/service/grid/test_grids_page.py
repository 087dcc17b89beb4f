"""The examples of docs/grids.md are valid grids."""

import re
from pathlib import Path

import pytest

from nfa_kernels import names
from service.grid.axes import SECTIONS
from service.grid.document import parse_document
from service.grid.expansion import expand
from service.grid.help import settings_help
from service.questions.judging import parse_claims

PAGE = (Path(__file__).parents[3] / "docs" / "grids.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
THRESHOLDS = re.findall(r"^\| `((?:every_trial|any_trial|group|fit): .*?)` \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_expands(text: str) -> None:
    expansion = expand(parse_document(text.encode()))
    assert len(expansion) > 1
    assert expansion.ignored == ()


@pytest.mark.parametrize("text", THRESHOLDS)
def test_every_threshold_is_one(text: str) -> None:
    claim = {"id": "a", "metric": "alignment", **parse_document(text.encode())}
    assert parse_claims([claim])[0].threshold


def test_the_page_has_its_examples() -> None:
    assert len(EXAMPLES) == 10 and len(THRESHOLDS) == 7


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_on_the_page_with_its_default(section: str) -> None:
    table = PAGE.partition(f"### `{section}`")[2].partition("###")[0]
    for name, field in SECTIONS[section].model_fields.items():
        is_word = field.default is None or isinstance(field.default, bool)
        written = {None: "null", False: "false", True: "true"}[field.default] if is_word else field.default
        assert f"| `{name}` | {written} | " in table


def test_every_name_a_setting_takes_is_on_the_page() -> None:
    taken = (
        *names.DATA_KINDS,
        *names.LINKS,
        *names.POOLINGS,
        *names.ENCODINGS,
        *names.LAYOUTS,
        *names.ACTIVATIONS,
        *names.PARAMETERIZATIONS,
        *names.INITIALISATIONS,
        *names.OPTIMIZERS,
        *names.LOSSES,
        *names.SCHEDULES,
    )
    assert [name for name in taken if name not in PAGE] == []


def test_help_knows_every_setting_as_a_grid_may_write_it() -> None:
    known = {one.path: one for one in settings_help()}
    assert set(known) == {f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields}
    assert all(one.meaning and one.allowed for one in known.values())
    assert known["network.depth"].allowed == "whole number 1 to 64"
    assert known["training.stop"].allowed.startswith("{loss_below: number > 0, when: text, plateau: {metric: text")
    assert known["training.optimizer"].allowed == ", ".join(names.OPTIMIZERS)
    assert known["training.learning_rate"][1:3] == ("number > 0", "0.02")
