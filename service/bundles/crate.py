"""RO-Crate 1.2 metadata of a bundle. Pure. Source: https://w3id.org/ro/crate/1.2, attached packages."""

from collections.abc import Mapping
from typing import Any, Final

from service.bundles.archive import Written
from service.bundles.citation import cited, is_spdx
from service.bundles.layout import CRATE, kind_of
from service.bundles.study import Study

_PROFILE: Final = "https://w3id.org/ro/crate/1.2"
_UNLICENSED: Final = "#no-licence"
Entity = dict[str, Any]


def crate(study: Study, files: Mapping[str, Written], versions: Mapping[str, Any]) -> Entity:
    """The document ro-crate-metadata.json.

    Args:
        study: what is bundled.
        files: what is in the archive so far, each under its name.
        versions: of versions.json.
    """
    folders = sorted({f"{name.rpartition('/')[0]}/" for name in files if "/" in name})
    top = [name for name in files if "/" not in name]
    people = [{"@id": f"#author-{number}", "@type": "Person", "name": one} for number, one in enumerate(study.authors)]
    software = _software(versions)
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": study.title,
        "description": _description(study),
        "datePublished": study.at.isoformat(timespec="seconds"),
        "license": {"@id": _license(study)["@id"]},
        "author": _references(people),
        "publisher": {"@id": people[0]["@id"]},
        "citation": _references(cited()),
        "hasPart": [{"@id": name} for name in (*sorted(top), *_outermost(folders))],
        "mentions": _references(software),
    }
    return {
        "@context": f"{_PROFILE}/context",
        "@graph": [
            {
                "@id": CRATE,
                "@type": "CreativeWork",
                "name": "What this folder holds, for machines",
                "conformsTo": {"@id": _PROFILE},
                "about": {"@id": "./"},
            },
            root,
            *(_folder(study, name, files, folders) for name in folders),
            *(_file(name, one) for name, one in sorted(files.items())),
            _license(study),
            *people,
            *cited(),
            *software,
        ],
    }


def _description(study: Study) -> str:
    trials = sum(sum(one.counts.values()) for one in study.experiments)
    names = "; ".join(f"{one.id}: {one.name}" for one in study.experiments)
    return (
        f"Grids, claims with their verdicts, every measurement and figures of {trials:,} trained networks, measured "
        f"for the Neural Feature Ansatz ({names})"
    )


def _license(study: Study) -> Entity:
    said = study.said.license
    if not said:
        return {
            "@id": _UNLICENSED,
            "@type": "CreativeWork",
            "name": "No licence stated",
            "description": "Whoever made this bundle states no licence: ask them before you use it further.",
        }
    address = f"https://spdx.org/licenses/{said}" if is_spdx(said) else said
    return {"@id": address, "@type": "CreativeWork", "name": said, "description": f"The licence of these data: {said}"}


def _software(versions: Mapping[str, Any]) -> list[Entity]:
    made = versions["made_with"]
    about = "Trained, measured and judged; " + ", ".join(f"{name} {version}" for name, version in made.items())
    return [
        {
            "@id": "#nfa-service",
            "@type": "CreativeWork",
            "name": "nfa-service",
            "version": made.get("nfa-service", "unknown"),
            "description": about,
        }
    ]


def _outermost(folders: list[str]) -> list[str]:
    return [one for one in folders if not any(one != other and one.startswith(other) for other in folders)]


def _folder(study: Study, name: str, files: Mapping[str, Written], folders: list[str]) -> Entity:
    titles = {f"{one.id}/": f"Experiment {one.id}: {one.name}" for one in study.experiments}
    inner = [one for one in folders if one != name and one.startswith(name)]
    own = [one for one in sorted(files) if one.startswith(name) and "/" not in one.removeprefix(name)]
    return {
        "@id": name,
        "@type": "Dataset",
        "name": titles.get(name, name.rstrip("/")),
        "description": titles.get(name, f"Files under {name}"),
        "hasPart": _references([{"@id": one} for one in (*own, *_outermost(inner))]),
    }


def _file(name: str, one: Written) -> Entity:
    return {
        "@id": name,
        "@type": "File",
        "name": name.rpartition("/")[2],
        "description": one.about,
        "encodingFormat": kind_of(name),
        "contentSize": str(one.size),
        "sha256": one.sha256,
    }


def _references(entities: list[Entity]) -> Any:
    """References to entities; a single one stands without a list, as the specification likes it."""
    found = [{"@id": one["@id"]} for one in entities]
    return found[0] if len(found) == 1 else found
