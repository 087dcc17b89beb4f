"""The page of figures, each with the grid it is of and the command that draws it."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "pictures"))
from shown import GALLERY, SEVERAL_EXPONENTS, sweeps

from service.presets import get_preset

_OPENING = """# Gallery

Figures with what they are of: save a grid as `NAME.yaml` and `nfa submit NAME.yaml --watch` runs it, against a service
that `nfa up` started; the command below each picture draws it again. `make pictures` made those on this page. The kinds
that look at single trials are on [the tour](tour.md).
"""


def gallery() -> str:
    """The page as Markdown."""
    parts = [_OPENING]
    for sweep in sweeps():
        parts.append(f'## {_title(sweep)}\n\n??? note "The grid, {sweep}.yaml"\n\n{_indented(_fenced(_text(sweep)))}\n')
        for shown in GALLERY:
            if shown.sweep == sweep:
                picture = f"![{shown.says}](pictures/{shown.name}.png)"
                parts.append(f"{picture}\n\n*{shown.says}*\n\n```\n{shown.command('EXPERIMENT')}\n```\n")
    return "\n".join(parts)


def _title(sweep: str) -> str:
    return "Several exponents" if sweep == "exponents" else get_preset(sweep).title


def _text(sweep: str) -> str:
    """A grid as a file of it would be; JSON is YAML."""
    return json.dumps(SEVERAL_EXPONENTS, indent=2) if sweep == "exponents" else get_preset(sweep).body.decode()


def _fenced(text: str) -> str:
    return f"```yaml\n{text.rstrip()}\n```"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
