"""What version 1.2.0 of the Citation File Format asks of a file, as far as ours use it."""

import re
from datetime import date

from service.bundles.citation import is_spdx

_KEYS = {
    *("cff-version", "message", "type", "title", "abstract", "authors", "version", "date-released", "license"),
    *("license-url", "repository-code", "url", "keywords", "references"),
}
_NEEDED = {"cff-version", "message", "title", "authors"}
_REFERENCE = {"type", "title", "authors", "year", "identifiers", "notes"}
_DOI = re.compile(r"10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-.()\[\]\\]+")


def assert_citable(document):
    """Every key is one that the format has, with a value of its kind."""
    assert document.keys() <= _KEYS and document.keys() >= _NEEDED
    assert document["cff-version"] == "1.2.0" and document["type"] in ("software", "dataset")
    texts = [value for name, value in document.items() if name not in ("authors", "references", "date-released")]
    assert all(isinstance(value, str) and value for value in texts)
    # YAML reads a date as one where it is not quoted
    assert isinstance(date.fromisoformat(str(document.get("date-released", "2026-01-01"))), date)
    assert is_spdx(document.get("license", "MIT"))
    _assert_authors(document)
    for one in document.get("references", ()):
        assert one.keys() == _REFERENCE and one["type"] == "article" and isinstance(one["year"], int)
        _assert_authors(one)
        for identifier in one["identifiers"]:
            assert identifier.keys() == {"type", "value"} and identifier["type"] == "doi"
            assert _DOI.fullmatch(identifier["value"])


def _assert_authors(of):
    """Persons or entities, at least one, each named."""
    assert of["authors"]
    for one in of["authors"]:
        assert one.keys() in ({"name"}, {"given-names", "family-names"})
        assert all(isinstance(name, str) and name for name in one.values())
