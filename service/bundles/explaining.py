"""The README of a bundle: what it is, what each file holds, how it is checked and used. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nfa_kernels import names
from service.bundles import layout
from service.bundles.archive import Written
from service.bundles.study import Study
from service.questions.number_format import number

_AT_THE_END: Final = {
    layout.README: "this page",
    layout.CRATE: "every file with its size, kind and digest, authors and licence, for machines: RO-Crate 1.2",
    layout.SUMS: "SHA-256 of every other file, as sha256sum reads it",
}
"""Written after this page, or with it."""
_CLAIMS: Final = ("| claim | decides | threshold | trials | |", "|---|---|---|---|---|")
Verdicts = Mapping[str, Sequence[Mapping[str, Any]]]


def readme(study: Study, files: Mapping[str, Written], verdicts: Verdicts) -> bytes:
    """The text of README.md; `verdicts` by experiment."""
    lines = [
        f"# {study.title}",
        "",
        f"By {', '.join(study.authors)}; written {study.at:%Y-%m-%d %H:%M} UTC by nfa-service.",
        "",
        "A study of the Neural Feature Ansatz: networks trained over a grid of settings, measured along the way, and",
        "statements judged on all of them. CITATION.cff says how to cite it.",
    ]
    for one in study.experiments:
        lines += ["", f"## {one.id}: {one.name}", ""]
        lines += [*one.notes.strip().splitlines(), ""] if one.notes.strip() else []
        counts = ", ".join(f"{count} {state.value}" for state, count in one.counts.items() if count)
        lines += [f"{sum(one.counts.values())} trials ({counts}).", ""]
        lines += _claims(verdicts[one.id])
    lines += ["## Files", "", "| file | bytes | what |", "|---|---|---|"]
    lines += [f"| {name} | {file.size:,} | {file.about} |" for name, file in sorted(_shown(files).items())]
    lines += [f"| {name} | | {about} |" for name, about in _AT_THE_END.items()]
    lines += [
        "",
        "A table's columns are trial_id, seed, the axes of the grid, step, time, layer and the metrics, ordered by",
        "trial, step and layer; undefined is null. Layers are numbered from 1 in forward order; where they have names,",
        "these are in layer_name, and `settings.layers` of a trial lists them by number.",
        "",
        "## Columns",
        "",
        "W_l is the weight matrix of layer l of L, G_l the average gradient outer product at its input.",
        "",
        "| column | what | unit | range | source |",
        "|---|---|---|---|---|",
        *_columns(study),
        "",
        "## Check and use it",
        "",
        "```",
        "sha256sum -c SHA256SUMS            # every file is what it was",
        "nfa verify study.zip --rerun 20    # verdicts from the tables; twenty trials trained again",
        "nfa import study.zip               # into a store of your own: nothing is trained",
        "```",
        "",
    ]
    return "\n".join(lines).encode()


def _claims(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    if not verdicts:
        return ["No claims were made.", ""]
    return [*_CLAIMS, *map(claim_line, verdicts), ""]


def claim_line(verdict: Mapping[str, Any]) -> str:
    """The row of a claim; `nfa verify` looks for it."""
    word = {True: "holds", False: "does not hold", None: "open"}[verdict["holds"]]
    says = f"{verdict['id']}: {verdict['says']}" if verdict["says"] else verdict["id"]
    return f"| {_cell(says)} | {number(verdict['worst'])} | {verdict['threshold']} | {verdict['trials']} | {word} |"


def _columns(study: Study) -> list[str]:
    """A row for each metric that was measured: what it is."""
    found = dict.fromkeys(name for sweep in study.sweeps for name in sweep.schema)
    defined = [(name, one) for name in found if (one := names.definition_of(name))]
    return [
        f"| {name} | {' | '.join(map(_cell, (one.formula, one.unit, one.range, one.source)))} |"
        for name, one in defined
    ]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _shown(files: Mapping[str, Written]) -> dict[str, Written]:
    """Every file; of weights one line for all of them."""
    shown = {name: one for name, one in files.items() if not name.startswith("weights/")}
    kept = [one for name, one in files.items() if name.startswith("weights/")]
    if kept:
        about = f"{len(kept)} files of weights, by trial and step"
        shown["weights/TRIAL/STEP.safetensors"] = Written(sum(one.size for one in kept), "", about)
    return shown
