"""A bundle is held against its own words: what was changed is found, and trials are trained again."""

import io
import json
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from tampering import tampered
from typer.testing import CliRunner

from service.bundles.checks import Check
from service.bundles.importing import read_experiment
from service.bundles.opening import opened
from service.bundles.rerunning import drawn
from service.bundles.retraining import retraining
from service.bundles.verifying import verify
from service.cli.exits import Exit, Stop
from service.cli.main import app
from service.grid.fitting import Limits
from service.store.session import Store


def _checks(file: Path, reruns: int = 0) -> dict[str, Check]:
    with opened(file) as bundle:
        return {one.what: one for one in verify(bundle, Limits(), reruns=reruns)}


def _table(file: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(file) as archive:
        change(pl.read_parquet(io.BytesIO(archive.read(name)))).write_parquet(made)
    return made.getvalue()


def test_a_bundle_is_what_it_says(handed: Path) -> None:
    found = _checks(handed)
    assert all(one.holds for one in found.values()), found
    assert list(found) == ["files", "trials", "e1: finals", "e1: verdicts", "e2: finals", "e2: verdicts"]
    assert found["e1: verdicts"].says.startswith("3 claims judged again")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"worst": 0.123}, "claim fits is upheld"),
        ({"holds": False}, "claim fits is upheld"),
        ({"trials": 7}, "claim fits is upheld"),
        ({"left_out": {"gate": 1, "diverged": 0}}, "claim fits is upheld"),
    ],
)
def test_a_verdict_that_its_rows_do_not_give_is_found(handed: Path, change: dict[str, Any], says: str) -> None:
    with zipfile.ZipFile(handed) as archive:
        written = json.loads(archive.read("e1/verdicts.json"))
    written[0] |= change
    found = _checks(tampered(handed, {"e1/verdicts.json": json.dumps(written).encode()}))
    assert [one.what for one in found.values() if not one.holds] == ["e1: verdicts"]
    assert says in found["e1: verdicts"].says


@pytest.mark.parametrize(
    ("written", "instead"), [("| holds |", "| does not hold |"), ("| fits: every", "| fits: no"), ("| fits:", "|")]
)
def test_a_page_that_tells_another_verdict_than_its_rows_is_found(handed: Path, written: str, instead: str) -> None:
    with zipfile.ZipFile(handed) as archive:
        page = archive.read("README.md").decode()
    assert written in page
    found = _checks(tampered(handed, {"README.md": page.replace(written, instead, 1).encode()}))
    assert [one.what for one in found.values() if not one.holds] == ["e1: verdicts"]
    assert found["e1: verdicts"].says == "README.md says otherwise of claim fits than its rows"


def test_a_claim_without_its_verdict_is_found(handed: Path) -> None:
    for missing in ("README.md", "e1/verdicts.json"):
        found = _checks(tampered(handed, {missing: None}))["e1: verdicts"]
        assert not found.holds and f"the bundle has no {missing}" in found.says
    found = _checks(tampered(handed, {"e1/verdicts.json": b"[]"}))
    assert not found["e1: verdicts"].holds and "3 claims were made" in found["e1: verdicts"].says


def test_finals_that_no_series_ends_with_are_found(handed: Path) -> None:
    changed = _table(handed, "e2/finals.parquet", lambda table: table.with_columns(alignment=pl.lit(1.0)))
    found = _checks(tampered(handed, {"e2/finals.parquet": changed}))
    assert [one.what for one in found.values() if not one.holds] == ["e2: finals"]


def test_a_number_that_training_does_not_give_is_found_and_the_others_are_the_same_bit_for_bit(handed: Path) -> None:
    def nudged(table: pl.DataFrame) -> pl.DataFrame:
        here = (pl.col("trial_id") == "t2") & (pl.col("step") == 7) & (pl.col("layer") == 2)
        return table.with_columns(alignment=pl.when(here).then(pl.col("alignment") + 1e-6).otherwise("alignment"))

    # a trial of both experiments is drawn from the first
    file = tampered(handed, {"e1/measurements.parquet": _table(handed, "e1/measurements.parquet", nudged)})
    quiet = _checks(file)
    assert all(one.holds for one in quiet.values())
    found = _checks(file, reruns=20)
    assert [one.what for one in found.values() if not one.holds] == ["e1: t2 again", "reruns"]
    assert "1e-06: alignment of layer 2 at step 7" in found["e1: t2 again"].says
    assert found["reruns"].says.startswith("7 of 8 trials trained again agree, 7 of them bit for bit")


def test_as_many_trials_are_drawn_as_was_asked_each_once_and_the_same_for_the_same_seed(
    handed: Path, other: Store
) -> None:
    with opened(handed) as bundle:
        read = [read_experiment(other, bundle, source, Limits()) for source in bundle.experiments]
    draws = [[trial.fingerprint for _, trial in drawn(read, 3, random.Random(seed))] for seed in (7, 7, 8)]
    assert draws[0] == draws[1] != draws[2] and len(set(draws[0])) == 3
    assert len({trial.fingerprint for _, trial in drawn(read, 99, random.Random(7))}) == 8


def test_the_command_says_each_check_and_exits_by_them(handed: Path) -> None:
    done = CliRunner().invoke(app, ["verify", str(handed)])
    assert done.exit_code == 0 and done.output.count("ok  ") == 6
    broken = tampered(handed, {"e1/verdicts.json": b"[]"})
    answer = CliRunner().invoke(app, ["verify", str(broken), "--json"])
    assert answer.exit_code == Exit.NO and json.loads(answer.output)["holds"] is False
    changed = CliRunner().invoke(app, ["verify", str(tampered(handed, {"README.md": b"lies"}, sums=False))])
    assert isinstance(changed.exception, Stop) and changed.exception.code is Exit.NO
    assert "changed: README.md" in str(changed.exception)


def test_what_would_have_trained_is_ended_where_nothing_is_to_be_trained(handed: Path) -> None:
    before = psutil.Process().children()
    with retraining():
        assert len(psutil.Process().children()) == len(before) + 1
    broken = tampered(handed, {"e1/grid.json": b"{}"})
    answer = CliRunner().invoke(app, ["verify", str(broken), "--rerun", "2"])
    assert answer.exit_code == Exit.NO and "FAIL" in answer.output and "again" not in answer.output
    assert psutil.Process().children() == before


def test_a_process_that_cannot_train_says_why(handed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = _checks(handed, reruns=1)["reruns"]
    assert not found.holds and "exit code 1" in found.says
