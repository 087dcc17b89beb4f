"""Writes CITATION.cff of the repository: how the service is cited, and what its method is from. `make citation`."""

import tomllib
from pathlib import Path
from typing import Final

from nfa_kernels.version import VERSION
from service.bundles.citation import software_cff

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "CITATION.cff"


def content() -> bytes:
    """The file, from what pyproject.toml, LICENSE and the version say."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    line = next(line for line in (ROOT / "LICENSE").read_text().splitlines() if line.startswith("Copyright"))
    author = line.split(maxsplit=3)[3]
    return software_cff("NFA service", project["description"], author, VERSION, project["license"])


if __name__ == "__main__":
    FILE.write_bytes(content())
