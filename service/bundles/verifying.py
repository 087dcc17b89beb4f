"""Whether a bundle is what it says: digests, trials and grids, tables, verdicts, and trials trained again.

The verdicts are recomputed from the bundle's tables, which are brought into a store of their own that is thrown away.
"""

import contextlib
import math
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from service.bundles import layout
from service.bundles.checks import TOLERANCE, Check
from service.bundles.explaining import claim_line
from service.bundles.importing import Imported, Read, import_bundle, read_experiment
from service.bundles.opening import Opened
from service.bundles.rerunning import drawn, rerun
from service.bundles.retraining import Retraining, retraining
from service.bundles.tables import groups
from service.errors import InvalidBundle
from service.grid.fitting import Limits
from service.questions.number_format import counted
from service.store import schema
from service.store.experiments import get_experiment
from service.store.session import Store, open_store
from service.store.verdicts import judged

_DIGITS: Final = 1e-9
"""How far deciding values may lie apart: a mean depends on the order of its terms."""


def verify(
    bundle: Opened,
    limits: Limits,
    *,
    reruns: int = 0,
    tolerance: float = TOLERANCE,
    seed: int | None = None,
    process: Retraining | None = None,
) -> Iterator[Check]:
    """Each check as it is done; the digests were held against the files when the bundle was opened.

    Args:
        bundle: which.
        limits: of the grids that are believed.
        reruns: trials to draw and train again.
        tolerance: see checks.TOLERANCE.
        seed: of the draw; None: another one each time.
        process: which trains; None: one is begun where it is needed.
    """
    yield Check("files", True, f"{len(bundle.sums):,} files are what {layout.SUMS} says")
    with tempfile.TemporaryDirectory(prefix="nfa-verify-") as folder, open_store(f"sqlite:///{folder}/nfa.db") as store:
        schema.upgrade(store)
        try:
            imported = import_bundle(store, bundle, limits)
            read = [read_experiment(store, bundle, source, limits) for source in bundle.experiments]
        except InvalidBundle as error:
            yield Check("trials", False, error.detail)
            return
        trials = sum(one.trials for one in imported)
        yield Check("trials", True, f"{trials:,} trials are those that the grids make, and every row belongs to one")
        for one, own in zip(imported, read, strict=True):
            yield _finals(bundle, own)
            yield _verdicts(store, bundle, one)
        if reruns:
            with contextlib.nullcontext(process) if process else retraining() as begun:
                yield from _reruns(bundle, read, reruns, tolerance, random.Random(seed), begun)


def _finals(bundle: Opened, one: Read) -> Check:
    """The table of last rows against the table of all rows."""
    what, name = f"{one.source}: finals", f"{one.source}/{layout.FINALS}"
    ended = pl.Series([trial.trial_id for trial in one.trials if trial.has_finals], dtype=pl.String)
    table = f"{one.source}/{layout.MEASUREMENTS}"
    last = pl.col("step") == pl.col("step").max().over("trial_id")
    parts = [
        frame.filter(last, pl.col("trial_id").is_in(ended.implode()))
        for frame in groups(bundle.path(table), table, one.rows_at_most())
    ]
    try:
        told = list(groups(bundle.path(name), name, one.rows_at_most()))
    except InvalidBundle as error:
        return Check(what, False, error.detail)
    keys = ["trial_id", "layer"]
    rows, written = (pl.concat(found).sort(keys) if found else None for found in (parts, told))
    same = (rows is None or rows.is_empty()) if written is None else rows is not None and rows.equals(written)
    return Check(what, same, "the last rows of its trials" if same else f"{name} has other rows than {table} ends with")


def _verdicts(store: Store, bundle: Opened, one: Imported) -> Check:
    """What is written of each claim against what its rows say."""
    what = f"{one.source}: verdicts"
    try:
        written = bundle.document(f"{one.source}/{layout.VERDICTS}")
        page = set(bundle.content(layout.README).decode(errors="replace").split("\n"))
    except InvalidBundle as error:
        return Check(what, False, error.detail)
    found = judged(store, get_experiment(store, one.id), is_own=True)
    if not isinstance(written, list) or len(written) != len(found):
        return Check(what, False, f"{len(found)} claims were made, and not so many verdicts are written")
    for told, ours in zip(written, found, strict=True):
        if not isinstance(told, Mapping) or not _agrees(told, ours):
            return Check(what, False, f"claim {ours['id']} is {_words(ours)} by its rows, and otherwise in the file")
        if claim_line({**ours, "worst": told.get("worst")}) not in page:
            return Check(what, False, f"{layout.README} says otherwise of claim {ours['id']} than its rows")
    holds = sum(verdict["holds"] is True for verdict in found)
    return Check(what, True, f"{counted(len(found), 'claim')} judged again from the tables, as written; {holds} hold")


def _agrees(told: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """The same verdict; the deciding number to nine digits, and whichever of equal trials decides."""
    plain = ("id", "says", "holds", "threshold", "trials", "left_out", "worst_group")
    if any(told.get(key) != ours[key] for key in plain):
        return False
    first, second = told.get("worst"), ours["worst"]
    if first is None or second is None:
        return first is second
    return isinstance(first, int | float) and math.isclose(first, second, rel_tol=_DIGITS, abs_tol=_DIGITS)


def _words(verdict: Mapping[str, Any]) -> str:
    word = {True: "upheld", False: "refuted", None: "open"}[verdict["holds"]]
    return f"{word} ({verdict['worst']} over {verdict['trials']} trials)"


def _reruns(
    bundle: Opened,
    read: Sequence[Read],
    count: int,
    tolerance: float,
    chance: random.Random,
    process: Retraining,
) -> Iterator[Check]:
    chosen = drawn(read, count, chance)
    try:
        done = rerun(bundle, chosen, process)
    except InvalidBundle as error:
        yield Check("reruns", False, error.detail)
        return
    wrong = [one for one in done if not one.holds(tolerance)]
    for one in wrong[:5]:
        says = f"differs by {one.largest:.2g}: {one.where}"
        yield Check(f"{one.experiment}: {one.trial} again", False, says)
    bits = sum(one.same_bits for one in done)
    largest = max((one.largest for one in done), default=0.0)
    says = f"{len(done) - len(wrong)} of {len(done)} trials trained again agree, {bits} of them bit for bit"
    yield Check("reruns", not wrong, f"{says}; largest difference {largest:.2g}, {tolerance:g} allowed")
