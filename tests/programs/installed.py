"""Programs of the system that tests drive: skipped with a word where one is missing, and a failure in CI."""

import os
import shutil

import pytest


def installed(*names: str, package: str) -> str:
    """The path of the first of these programs that there is."""
    # servers are often installed where only administrators look
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])
    found = [path for name in names if (path := shutil.which(name, path=places))]
    if found:
        return found[0]
    missing = f"no {names[0]} on this machine: `make programs` installs it for root, or apt-get install {package}"
    if is_ci(os.environ.get("CI")):
        pytest.fail(missing)
    pytest.skip(missing)


def is_ci(value: str | None) -> bool:
    """Whether CI says that this is continuous integration, where nothing may be left out."""
    return (value or "").strip().lower() not in ("", "0", "false", "no")
