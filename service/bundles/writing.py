"""Writes a bundle piece by piece, in memory that does not grow with it."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq
from pydantic_core import to_json

from service.api.exports import WRITERS, as_arrow
from service.bundles import layout
from service.bundles.archive import Archive
from service.bundles.citation import bibtex, cff
from service.bundles.crate import crate
from service.bundles.explaining import readme
from service.bundles.pictures import in_parts, pictures
from service.bundles.study import Study
from service.bundles.versions import TrainedWith, versions
from service.errors import Conflict
from service.grid.inputs import datasets_of
from service.grid.problems import Problems
from service.grid.remeasurement import inputs_of
from service.questions.claimed_grids import check_claims
from service.questions.judging import parse_claims
from service.store import sweeps
from service.store.claims import measured_in
from service.store.datasets import dataset_ids, dataset_shapes
from service.store.experiments import Experiment
from service.store.remeasured_records import requests_made
from service.store.rounds import rounds_made
from service.store.session import Store
from service.store.study_records import dataset_file, has_ended, kept_files, trial_records
from service.store.sweeps import Sweep
from service.store.verdicts import judged
from service.store.versions import version_of
from service.store.weights import weights_at

_IN_MEMORY: Final = 4 << 20
PIECE_ROWS: Final = 10_000
"""Rows of a Parquet group: what a piece takes while it is read, joined and written is many times its own size."""


def bundle(store: Store, study: Study) -> Iterator[bytes]:
    """The archive, as it is made.

    Raises:
        Conflict: something was measured anew meanwhile; the archive stays without its end, and opens nowhere.
    """
    writer = _Writer(store, study)
    try:
        yield from writer.parts()
    finally:
        writer.archive.abandon()


class _Writer:
    """An archive under way, and what the files at its end say of those before."""

    def __init__(self, store: Store, study: Study) -> None:
        self.store, self.study = store, study
        self.archive = Archive(study.at)
        self.trained = TrainedWith()
        self.datasets: set[str] = set()
        self.verdicts: dict[str, list[dict[str, Any]]] = {}

    def parts(self) -> Iterator[bytes]:
        for one, sweep in zip(self.study.experiments, self.study.sweeps, strict=True):
            yield from self._experiment(one, sweep)
        yield from self._datasets()
        if self.study.said.with_weights:
            yield from self._weights()
        if version_of(self.store, self.study.ids) != self.study.version:
            raise Conflict("trials ran again, or claims were added, while the bundle was written: ask again")
        yield from self._about()
        yield self.archive.close()

    def _add(self, name: str, about: str, content: bytes) -> Iterator[bytes]:
        return self.archive.add(name, about, in_parts(content))

    def _experiment(self, one: Experiment, sweep: Sweep) -> Iterator[bytes]:
        folder = f"{one.id}/"
        one = _of_its_grid(self.store, one)
        self.verdicts[one.id] = judged(self.store, one, is_own=True)
        yield from self._add(
            folder + layout.GRID, "the grid as it was submitted; `nfa submit` takes it", _json(one.grid)
        )
        yield from self._add(
            folder + layout.EXPERIMENT,
            "name, notes, axes, counts, claims, what searches added, and what was measured again",
            _json(_about(self.store, one)),
        )
        about = "each claim judged, with the value that decides"
        yield from self._add(folder + layout.VERDICTS, about, _json(self.verdicts[one.id]))
        # before the tables, which leave freed memory with their allocators
        for picture in pictures(self.store, one) if self.study.said.with_figures else []:
            name = f"{folder}figures/{picture.name}"
            yield from self._add(f"{name}.pdf", f"the figure `{picture.name}`", picture.pdf)
            about = f"the figure `{picture.name}` with its data, in Vega-Lite"
            yield from self._add(f"{name}.vl.json", about, picture.specification)
        ended: set[str] = set()
        self.datasets |= _still_read(self.store, one.id)
        about = "a line per trial: fingerprint, seed, state, settings in full, provenance, attempts"
        yield from self.archive.add(folder + layout.TRIALS, about, self._trials(one, ended))
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as finals:
            yield from self.archive.add(
                folder + layout.MEASUREMENTS,
                "every measurement of every trial, a row per trial, step and layer",
                self._measurements(sweep, ended, finals),
            )
            finals.seek(0)
            about = "the rows of each trial's last step, of trials that completed or diverged"
            yield from self.archive.add(folder + layout.FINALS, about, iter(lambda: finals.read(1 << 20), b""))

    def _trials(self, one: Experiment, ended: set[str]) -> Iterator[bytes]:
        """The lines of an experiment's trials; notes which have ended, their data and what trained them."""
        for page in trial_records(self.store, one.id):
            self.datasets |= dataset_ids(record["settings"] for record in page)
            for record in page:
                self.trained.add(record["provenance"])
                if has_ended(record):
                    ended.add(record["trial_id"])
            yield b"".join(to_json(record, inf_nan_mode="null") + b"\n" for record in page)

    def _measurements(self, sweep: Sweep, ended: set[str], finals: Any) -> Iterator[bytes]:
        """The table as Parquet; what trials ended with goes to a table of its own on the way."""
        have_finals = pl.Series(sorted(ended), dtype=pl.String)
        empty = as_arrow(pl.DataFrame(schema=sweep.schema))
        with pq.ParquetWriter(finals, empty.schema, compression="snappy") as out:

            def passing() -> Iterator[pl.DataFrame]:
                for piece in sweeps.pieces(self.store, sweep, PIECE_ROWS):
                    last = pl.col("step") == pl.col("step").max().over("trial_id")
                    out.write_table(as_arrow(piece.filter(last, pl.col("trial_id").is_in(have_finals.implode()))))
                    yield piece

            yield from WRITERS["parquet"](sweep, passing())

    def _datasets(self) -> Iterator[bytes]:
        for sha256 in sorted(self.datasets):
            record, content = dataset_file(self.store, sha256)
            arrays, about = layout.dataset_files(sha256)
            yield from self._add(arrays, f"the uploaded arrays {record.name!r}", content)
            known = {name: value for name, value in record._asdict().items() if name != "created_at"}
            yield from self._add(
                about, f"shapes of the arrays {record.name!r}, and what they were read as", _json(known)
            )

    def _weights(self) -> Iterator[bytes]:
        for trial, step in kept_files(self.store, self.study.ids):
            name, about = layout.weights_file(trial, step), f"the weights of {trial} at step {step}"
            yield from self._add(name, about, weights_at(self.store, trial, step)[1])

    def _about(self) -> Iterator[bytes]:
        """What follows from all that is in the archive so far; the digests last."""
        study, made = self.study, versions(self.trained)
        about = {
            "format": layout.FORMAT,
            "title": study.title,
            "authors": study.authors,
            "license": study.said.license or None,
            "created_at": study.at,
            "experiments": study.ids,
        }
        files: list[tuple[str, str, Callable[[], bytes]]] = [
            (layout.ABOUT, "the form of this bundle, and which experiments it holds", lambda: _json(about)),
            ("versions.json", "what it was made with, and on what its trials were trained", lambda: _json(made)),
            (layout.CITATION, "how to cite this bundle, and the articles its method is from", lambda: cff(study)),
            (layout.REFERENCES, "the same for BibTeX", lambda: bibtex(study)),
            (layout.README, "this page", lambda: readme(study, self.archive.files, self.verdicts)),
            (
                layout.CRATE,
                "the same for machines: RO-Crate 1.2",
                lambda: _json(crate(study, self.archive.files, made)),
            ),
            (layout.SUMS, "SHA-256 of every other file, as sha256sum reads it", self._sums),
        ]
        for name, text, content in files:
            yield from self._add(name, text, content())

    def _sums(self) -> bytes:
        return "".join(f"{one.sha256}  {name}\n" for name, one in sorted(self.archive.files.items())).encode()


def _of_its_grid(store: Store, one: Experiment) -> Experiment:
    """With those of its claims alone that are about what its grid measures: others could not be judged by a reader."""
    measured, kept = measured_in(store, one.id, is_own=True), []
    for written in one.claims:
        problems = Problems()
        check_claims(parse_claims([written]), measured, problems)
        kept += [] if problems else [written]
    return replace(one, claims=kept)


def _about(store: Store, one: Experiment) -> Mapping[str, Any]:
    """An experiment without its grid, which has a file of its own; what its searches added, what was measured again."""
    told = {name: value for name, value in asdict(one).items() if name not in ("grid", "eta_seconds")}
    made = rounds_made(store, one.id)
    searches = {"rounds": [asdict(kept) for kept in made.rounds], "stopped": dict(made.stopped)}
    again = [one._asdict() for one in requests_made(store, one.id)]
    return told | (searches if made.rounds else {}) | ({"measured_again": again} if again else {})


def _still_read(store: Store, experiment: str) -> set[str]:
    """Uploads over which its trials were measured again, but for those that were deleted since."""
    read = {name for made in requests_made(store, experiment) for name in datasets_of(inputs_of(made.asked))}
    return set(dataset_shapes(store, read))


def _json(value: Any) -> bytes:
    return json.dumps(json.loads(to_json(value, inf_nan_mode="null")), indent=1, ensure_ascii=False).encode() + b"\n"
