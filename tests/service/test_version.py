"""One version: of the packages, the API, the command, the images and the changelog."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version
from typer.testing import CliRunner

from nfa_kernels.version import VERSION
from service.cli.main import app
from service.main import create_app
from service.settings import Settings

ROOT = Path(__file__).parents[2]
IMAGES = ["Dockerfile", "docker-compose.yml", "kubernetes/base/nfa.yaml", "kubernetes/gpu/workers.yaml"]
IMAGES += ["docs/howto/kubernetes.md"]


def test_what_is_installed_answers_with_the_version_of_the_source(tmp_path):
    assert importlib.metadata.version("nfa-service") == VERSION, "install it anew: pip install -e ."
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'nfa.db'}")
    assert create_app(settings).openapi()["info"]["version"] == VERSION
    assert CliRunner().invoke(app, ["--version"]).output.strip() == VERSION


@pytest.mark.parametrize("folder", ["", "nfa_kernels"])
def test_both_distributions_read_their_version_from_one_place(folder):
    found = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())
    assert "version" not in found["project"] and found["project"]["dynamic"] == ["version"]
    assert found["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "nfa_kernels.version.VERSION"}


@pytest.mark.parametrize("file", IMAGES)
def test_images_are_called_by_the_version(file):
    tags = re.findall(r"nfa-service(?:-cuda)?:([0-9][0-9a-z.]*[0-9])", (ROOT / file).read_text())
    assert tags and set(tags) == {VERSION}


def test_the_changelog_begins_with_the_release_that_the_version_leads_to():
    title = re.search(r"^## (\S+?)(,.*)?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert title is not None and title[1] == Version(VERSION).base_version
    assert (title[2] == ", unreleased") == Version(VERSION).is_prerelease
