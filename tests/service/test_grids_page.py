"""The examples of docs/grids.md are valid grids."""

import re
from pathlib import Path

import pytest

from service.claims import parse_claims
from service.grid_document import parse_document
from service.grids import expand

PAGE = (Path(__file__).parents[2] / "docs" / "grids.md").read_text()
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
    assert len(EXAMPLES) == 2 and len(THRESHOLDS) == 5
