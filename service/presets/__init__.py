"""The grids that ship with the service, one YAML file each."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from service.errors import NotFound
from service.grid.document import parse_document
from service.grid.problems import nearest
from service.questions.claimed_grids import read_claimed


@dataclass(frozen=True)
class Preset:
    """A grid that ships, with the first line of its notes as title."""

    name: str
    title: str
    description: str
    trials: int
    grid: dict[str, Any]
    body: bytes
    """The YAML file, which POST /experiments takes as it is."""


def preset_names() -> list[str]:
    """Names of all presets, sorted."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


@cache
def get_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        NotFound: naming the presets there are.
    """
    known = preset_names()
    if name not in known:
        near = nearest(name, known)
        hint = f"; did you mean {near}?" if near else "."
        raise NotFound(f"no preset is called {name[:100]!a}{hint or '.'} There are: {', '.join(known)}")
    body = resources.files(__name__).joinpath(f"{name}.yaml").read_bytes()
    document = parse_document(body)
    title, _, description = str(document.get("notes", "")).strip().partition("\n")
    return Preset(name, title.strip(), description.strip(), len(read_claimed(document).expansion), document, body)


def list_presets() -> list[Preset]:
    """Every preset, sorted by name."""
    return [get_preset(name) for name in preset_names()]
