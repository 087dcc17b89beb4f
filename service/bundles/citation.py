"""How a bundle, and the service itself, are cited, and what the method is from: CITATION.cff and BibTeX. Pure."""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import yaml

from service.bundles.study import Study


class Source(NamedTuple):
    """An article that the measured quantities are from."""

    key: str
    title: str
    authors: tuple[str, ...]
    """As "Given Family"."""
    year: int
    arxiv: str
    about: str


SOURCES: Final = (
    Source(
        "tansley2025nfa",
        "On the Neural Feature Ansatz for Deep Neural Networks",
        ("Edward Tansley", "Estelle Massart", "Coralia Cartis"),
        2025,
        "2510.15563",
        "the ansatz, its exponent 1/L and its counterexamples",
    ),
    Source(
        "radhakrishnan2022mechanism",
        "Mechanism of feature learning in deep fully connected networks and kernel machines that recursively learn "
        "features",
        ("Adityanarayanan Radhakrishnan", "Daniel Beaglehole", "Parthe Pandit", "Mikhail Belkin"),
        2022,
        "2212.13881",
        "the average gradient outer product",
    ),
    Source(
        "beaglehole2023convolutional",
        "Mechanism of feature learning in convolutional neural networks",
        ("Daniel Beaglehole", "Adityanarayanan Radhakrishnan", "Parthe Pandit", "Mikhail Belkin"),
        2023,
        "2309.00570",
        "the ansatz in convolutional layers",
    ),
    Source(
        "beaglehole2024alignment",
        "Feature learning as alignment: a structural property of gradient descent in non-linear neural networks",
        ("Daniel Beaglehole", "Ioannis Mitliagkas", "Atish Agarwala"),
        2024,
        "2402.05271",
        "uc_nfa and c_nfa",
    ),
    Source(
        "boixadsera2025fact",
        "The Features at Convergence Theorem: a first-principles alternative to the Neural Feature Ansatz for how "
        "networks learn representations",
        ("Enric Boix-Adsera", "Neil Mallinar", "James B. Simon", "Mikhail Belkin"),
        2025,
        "2507.05644",
        "fact_alignment",
    ),
)
_SPDX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


def is_spdx(text: str) -> bool:
    """Whether a licence is named by an identifier, and not by an address."""
    return _SPDX.fullmatch(text) is not None


def cff(study: Study) -> bytes:
    """CITATION.cff of a bundle."""
    own: dict[str, Any] = {
        "message": "If you use these data, please cite them, and the articles whose quantities they measure.",
        "type": "dataset",
        "title": study.title,
        "authors": [{"name": author} for author in study.authors],
        "date-released": f"{study.at:%Y-%m-%d}",
    }
    if study.said.license:
        own["license" if is_spdx(study.said.license) else "license-url"] = study.said.license
    return _file(own)


def software_cff(title: str, about: str, author: str, version: str, license: str) -> bytes:
    """CITATION.cff of the service, which lies at the root of its repository."""
    own = {
        "message": "If you use this software, please cite it, and the articles whose quantities it measures.",
        "type": "software",
        "title": title,
        "abstract": about,
        "authors": [{"name": author}],
        "version": version,
        "license": license,
    }
    return _file(own)


def _file(own: dict[str, Any]) -> bytes:
    """Version 1.2.0 of the format."""
    references = [_reference(source) for source in SOURCES]
    document = {"cff-version": "1.2.0", **own, "references": references}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120).encode()


def _reference(source: Source) -> dict[str, Any]:
    return {
        "type": "article",
        "title": source.title,
        "authors": [_person(author) for author in source.authors],
        "year": source.year,
        "identifiers": [{"type": "doi", "value": doi(source)}],
        "notes": source.about,
    }


def _person(name: str) -> dict[str, str]:
    given, _, family = name.rpartition(" ")
    return {"given-names": given, "family-names": family}


def doi(source: Source) -> str:
    """The identifier that arXiv registers for each of its articles."""
    return f"10.48550/arXiv.{source.arxiv}"


def bibtex(study: Study) -> bytes:
    """The study itself, and the sources of its method."""
    own = _entry(
        "misc",
        "study",
        {
            "title": f"{{{_escaped(study.title)}}}",
            "author": " and ".join(f"{{{_escaped(author)}}}" for author in study.authors),
            "year": str(study.at.year),
            "note": "Data set; experiments " + ", ".join(study.ids),
        },
    )
    return "\n".join([own, *(_article(source) for source in SOURCES)]).encode()


def _article(source: Source) -> str:
    fields = {
        "title": f"{{{source.title}}}",
        "author": " and ".join(source.authors),
        "year": str(source.year),
        "eprint": source.arxiv,
        "archiveprefix": "arXiv",
        "doi": doi(source),
    }
    return _entry("article", source.key, fields)


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])


def _escaped(text: str) -> str:
    """Text that BibTeX and TeX take as it is."""
    return "".join(f"\\{letter}" if letter in "&%$#_" else "" if letter in "{}\\~^" else letter for letter in text)


def cited(sources: Sequence[Source] = SOURCES) -> list[dict[str, Any]]:
    """The sources as entities of a crate."""
    return [
        {
            "@id": f"https://doi.org/{doi(source)}",
            "@type": "ScholarlyArticle",
            "name": source.title,
            "author": ", ".join(source.authors),
            "datePublished": str(source.year),
        }
        for source in sources
    ]
