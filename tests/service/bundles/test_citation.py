"""The service is cited by a file of its repository, in the format that bundles are cited in."""

import tomllib
from pathlib import Path

import yaml
from cff_format import assert_citable
from citation_file import FILE, content

from nfa_kernels.version import VERSION
from service.bundles.citation import SOURCES, doi

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_the_citation_of_the_repository_is_what_its_parts_say():
    assert FILE.read_bytes() == content(), "write it anew: make citation"
    document = yaml.safe_load(FILE.read_bytes())
    assert_citable(document)
    project = tomllib.loads(PROJECT.read_text())["project"]
    assert document["type"] == "software"
    told = (document["version"], document["license"], document["abstract"])
    assert told == (VERSION, project["license"], project["description"])


def test_it_names_the_sources_of_the_method_as_bundles_do():
    references = yaml.safe_load(FILE.read_bytes())["references"]
    assert [one["identifiers"][0]["value"] for one in references] == [doi(source) for source in SOURCES]
    assert {author["family-names"] for author in references[0]["authors"]} == {"Tansley", "Massart", "Cartis"}
