"""What the site is made of: the pages of docs/ as they stand, and those that only this code can write."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

from gallery_page import gallery
from python_pages import TITLES, modules
from rest_page import rest

from service.main import create_app

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
NAVIGATION: Final[dict[str, Any]] = {
    "NFA service": "index.md",
    "A tour": "tour.md",
    "Tutorials": {
        "A first sweep": "howto/first_sweep.md",
        "A study in a notebook": "howto/notebook.md",
        "Your own data": "howto/own_data.md",
        "Any network": "howto/any_network.md",
        "Boundaries": "howto/boundaries.md",
        "Measure again": "howto/measure_again.md",
        "Be told": "howto/webhooks.md",
        "Cite it": "howto/cite_it.md",
    },
    "Clusters": {
        "Slurm": "howto/slurm.md",
        "Kubernetes": "howto/kubernetes.md",
        "Many trainers": "howto/scale.md",
        "Operations": "operations.md",
    },
    "Gallery": "gallery.md",
    "Reference": {
        "Grids": "grids.md",
        "REST by example": "api.md",
        "REST in full": "reference/rest.md",
        "Python client": "reference/client.md",
        "Kernels": {title.capitalize(): f"reference/{name}.md" for name, title in TITLES.items()},
        "Pages": "pages.md",
        "Bundles": "bundles.md",
        "Other tools": "howto/other_tools.md",
        "Mathematics": "mathematics.md",
        "Trial states": "trial_states.md",
        "Glossary": "glossary.md",
    },
    "Performance": "performance.md",
    "Contributing": "contributing.md",
    "Changes": "changelog.md",
}
"""Every page by its title; decisions are added by their numbers."""
_LINK: Final = re.compile(r"\]\((?!https?://|#)([^)]+)\)")


class PageMissing(Exception):
    """The navigation and the pages there are differ."""


def write_pages(folder: Path) -> dict[str, Any]:
    """Write every page and picture into a folder, and answer the navigation.

    Raises:
        PageMissing: naming pages that are not in the navigation, and those that are there alone.
    """
    _copy(folder)
    for source, page in {
        "README.md": "index.md",
        "CONTRIBUTING.md": "contributing.md",
        "CHANGELOG.md": "changelog.md",
    }.items():
        (folder / page).write_text(_from_the_root((ROOT / source).read_text()))
    (folder / "reference").mkdir()
    document = create_app().openapi()
    (folder / "reference" / "openapi.json").write_text(json.dumps(document, indent=1))
    (folder / "reference" / "rest.md").write_text(rest(document))
    for name, text in modules(ROOT).items():
        (folder / "reference" / f"{name}.md").write_text(text)
    (folder / "gallery.md").write_text(gallery())
    decisions = {_title(page): page.relative_to(folder).as_posix() for page in sorted(folder.glob("decisions/*.md"))}
    navigation = NAVIGATION | {"Decisions": decisions}
    there, named = {page.relative_to(folder).as_posix() for page in folder.rglob("*.md")}, set(_leaves(navigation))
    if there != named:
        raise PageMissing(
            f"docs/site/site_pages.py: not in NAVIGATION: {sorted(there - named)}; there alone: {sorted(named - there)}"
        )
    return navigation


def _copy(folder: Path) -> None:
    for source in sorted(DOCS.rglob("*")):
        if source.suffix in {".md", ".png"}:
            target = folder / source.relative_to(DOCS)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _from_the_root(text: str) -> str:
    """A page of the root with its links as the site has them."""
    moved = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
    return _LINK.sub(lambda link: f"]({moved.get(link[1], link[1].removeprefix('docs/'))})", text)


def _title(page: Path) -> str:
    heading = page.read_text().partition("\n")[0].removeprefix("# ").strip()
    return re.sub(r"^0*(\d+)[.:]?\s+", r"\1. ", heading)


def _leaves(navigation: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for place in navigation.values():
        found += _leaves(place) if isinstance(place, dict) else [place]
    return found
