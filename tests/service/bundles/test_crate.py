"""The metadata of a bundle keep the rules of RO-Crate 1.2 (https://w3id.org/ro/crate/1.2), whatever is said of it."""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from service.bundles import layout
from service.bundles.study import Said, study_of
from service.bundles.writing import bundle
from service.store.session import Store

PROFILE = "https://w3id.org/ro/crate/1.2"
TERMS = {
    *("@id", "@type", "name", "description", "datePublished", "license", "author", "publisher", "citation", "hasPart"),
    *("mentions", "conformsTo", "about", "encodingFormat", "contentSize", "sha256", "version"),
}
"""Of the published context, those that bundles use."""
TYPES = {"CreativeWork", "Dataset", "File", "Person", "ScholarlyArticle"}


@pytest.fixture(params=["everything said", "nothing said", "an address as licence"])
def crate(
    request: pytest.FixtureRequest, small_study: tuple[Store, list[str]], tmp_path: Path
) -> Iterator[zipfile.ZipFile]:
    said = {
        "everything said": Said("On ünusual | names", ("Ada Lovelace", "C & D"), "CC-BY-4.0", with_weights=True),
        "nothing said": Said(),
        "an address as licence": Said("T", ("A",), "https://example.org/terms"),
    }[request.param]
    store, ids = small_study
    study = study_of(store, ids, replace(said, with_figures=False))
    file = tmp_path / "crate.zip"
    file.write_bytes(b"".join(bundle(store, study)))
    with zipfile.ZipFile(file) as archive:
        yield archive


def _references(value: Any) -> Iterator[str]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            assert list(one) == ["@id"], "entities are not nested"
            yield one["@id"]


def test_the_metadata_keep_the_rules_of_the_specification(crate: zipfile.ZipFile) -> None:
    document = json.loads(crate.read(layout.CRATE))
    assert list(document) == ["@context", "@graph"] and document["@context"] == f"{PROFILE}/context"
    graph = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(graph) == len(document["@graph"]), "an entity is described once"
    descriptor, root = graph["ro-crate-metadata.json"], graph["./"]
    assert descriptor["@type"] == "CreativeWork" and descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": PROFILE}
    assert root["@type"] == "Dataset" and root["name"] and root["description"]
    assert datetime.fromisoformat(root["datePublished"]).tzinfo is not None
    assert graph[root["license"]["@id"]]["@type"] == "CreativeWork"
    assert graph[root["publisher"]["@id"]]["@type"] == "Person"
    for entity in graph.values():
        assert set(entity) <= TERMS and entity["@type"] in TYPES and entity["name"], entity
        assert not any(isinstance(value, list) and len(value) < 2 for value in entity.values()), entity
        for value in entity.values():
            for reference in _references(value):
                assert reference in graph or reference == PROFILE, reference


def test_every_file_is_a_part_of_the_whole_with_its_size_and_digest(crate: zipfile.ZipFile) -> None:
    graph = {entity["@id"]: entity for entity in json.loads(crate.read(layout.CRATE))["@graph"]}
    reached: set[str] = set()
    ahead = ["./"]
    while ahead:
        name = ahead.pop()
        reached.add(name)
        ahead += list(_references(graph[name].get("hasPart", [])))
    files = {name for name, entity in graph.items() if entity["@type"] == "File"}
    assert files == set(crate.namelist()) - {layout.CRATE, layout.SUMS}
    assert files | {name for name, entity in graph.items() if entity["@type"] == "Dataset"} == reached
    for name in files:
        content = crate.read(name)
        assert graph[name]["contentSize"] == str(len(content)) and "/" in graph[name]["encodingFormat"]
        assert graph[name]["sha256"] == hashlib.sha256(content).hexdigest()
