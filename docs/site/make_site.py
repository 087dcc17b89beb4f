"""`make site`: the documentation as a folder of pages that need no other host, in build/site/html.

Why Zensical: docs/decisions/0023.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from site_pages import ROOT, write_pages

SITE: Final = ROOT / "build" / "site"
FETCHED: Final = re.compile(
    r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?https?://[^>]*>|url\([\"']?https?://[^)]*\)"
)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_SETTINGS: Final = """[project]
site_name = "NFA service"
site_description = "Sweeps on the Neural Feature Ansatz: stacked training, honest alignment, results over REST"
docs_dir = "pages"
site_dir = "html"
# files to be opened as they lie in a folder, also without a server
use_directory_urls = false
nav = {navigation}

[project.theme]
# the reader's own fonts: none is fetched from anywhere
font = false
features = ["content.code.copy", "navigation.footer", "navigation.top", "toc.follow"]

[project.plugins.mkdocstrings.handlers.python]
paths = [{root}]

[project.plugins.mkdocstrings.handlers.python.options]
docstring_style = "google"
show_source = false
show_root_heading = true
show_signature_annotations = true
separate_signature = true
heading_level = 3
"""


class NotBuilt(Exception):
    """Something is wrong with a page, or it would fetch from another host."""


def main() -> None:
    """Build the site anew."""
    started = time.monotonic()
    shutil.rmtree(SITE, ignore_errors=True)
    navigation = write_pages(SITE / "pages")
    try:
        built = build(SITE, navigation)
    except NotBuilt as why:
        sys.exit(str(why))
    print(f"{len(built)} pages in {time.monotonic() - started:.0f} s: {SITE / 'html' / 'index.html'}")


def build(site: Path, navigation: dict[str, Any]) -> list[Path]:
    """Make site/html of site/pages, and answer its pages.

    Raises:
        NotBuilt: a warning, such as a link that leads nowhere; or a page that fetches from another host.
    """
    (site / "zensical.toml").write_text(_SETTINGS.format(navigation=_toml(navigation), root=json.dumps(str(ROOT))))
    command = [Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"]
    ended = subprocess.run(command, cwd=site, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        said = _COLOUR.sub("", ended.stdout + ended.stderr).partition("Traceback")[0]
        raise NotBuilt(f"the documentation has faults; its pages are those of docs/\n{said}")
    for file in [*site.glob("html/**/*.html"), *site.glob("html/**/*.css")]:
        if fetched := FETCHED.search(file.read_text()):
            raise NotBuilt(f"{file.relative_to(site)} fetches from another host: {fetched[0]}")
    return sorted(site.glob("html/**/*.html"))


def _toml(navigation: dict[str, Any]) -> str:
    """The navigation as TOML: a list of tables with one key each."""
    entries = [
        f"{{{json.dumps(title, ensure_ascii=False)} = {json.dumps(place) if isinstance(place, str) else _toml(place)}}}"
        for title, place in navigation.items()
    ]
    return f"[{', '.join(entries)}]"


if __name__ == "__main__":
    main()
