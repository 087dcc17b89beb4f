"""A bundle from a stranger is data: what does not fit is refused with a word, and nothing is left behind."""

import io
import json
import pickle
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sqlalchemy import func, select
from tampering import bomb, tampered, with_directory_size, with_entry

from service.bundles.importing import import_bundle
from service.bundles.opening import opened
from service.errors import InvalidBundle
from service.grid.fitting import Limits
from service.store.models import experiment
from service.store.session import Store


def _refused(store: Store, file: Path, says: str, limits: Limits | None = None) -> None:
    with pytest.raises(InvalidBundle, match=says), opened(file) as bundle:
        import_bundle(store, bundle, limits or Limits())
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(experiment)) == 0


def _read(file: Path, name: str) -> bytes:
    with zipfile.ZipFile(file) as archive:
        return archive.read(name)


@pytest.mark.parametrize(
    "name",
    [
        "../escaped",
        "/etc/escaped",
        "e1/../../escaped",
        "e1\\..\\escaped",
        "C:/escaped",
        ".hidden",
        "a/b/c/d/e",
        "e1//x",
    ],
)
def test_names_that_lead_elsewhere_are_refused(handed: Path, other: Store, tmp_path: Path, name: str) -> None:
    _refused(other, tampered(handed, {name: b"x"}), "is no name|called")
    assert not list(tmp_path.rglob("*escaped*"))


def test_links_folders_and_encrypted_files_are_refused(handed: Path, other: Store) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    _refused(other, with_entry(handed, link, b"/etc/passwd"), "link is a link")
    _refused(other, with_entry(handed, zipfile.ZipInfo("folder/"), b""), "called 'folder/'")
    packed = zipfile.ZipInfo("odd")
    packed.compress_type = zipfile.ZIP_BZIP2
    _refused(other, with_entry(handed, packed, b"x"), "packed by a method")


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(handed: Path, other: Store, tmp_path: Path) -> None:
    file = tmp_path / "bomb.zip"
    file.write_bytes(bomb(50 << 20))
    _refused(other, file, "SHA256SUMS would unpack to 52,428,800 bytes")
    with pytest.raises(InvalidBundle, match=r"unpack to .* 1,000 are allowed"), opened(handed, most_bytes=1_000):
        pass
    _refused(other, with_directory_size(handed, 1 << 30), "its directory has 1,073,741,824 bytes")


@pytest.mark.parametrize("cut", [0, 10, 1_000, -1, -30])
def test_what_is_cut_short_is_refused(handed: Path, other: Store, tmp_path: Path, cut: int) -> None:
    file = tmp_path / "cut.zip"
    file.write_bytes(handed.read_bytes()[:cut])
    _refused(other, file, "no readable ZIP archive")


def test_what_is_not_what_its_digests_say_is_refused(handed: Path, other: Store) -> None:
    _refused(other, tampered(handed, {"e1/verdicts.json": b"[]"}, sums=False), "changed: e1/verdicts.json")
    _refused(other, tampered(handed, {"e1/verdicts.json": None}, sums=False), "missing: e1/verdicts.json")
    _refused(other, tampered(handed, {"more": b""}, sums=False), "not named in its sums: more")
    _refused(other, tampered(handed, {"SHA256SUMS": b"nonsense\n"}, sums=False), "a line that is none")
    _refused(other, tampered(handed, {"bundle.json": b'{"format": 9}'}), "form 9, this version reads form 1")
    _refused(other, tampered(handed, {"e1/grid.json": None}), "has no e1/grid.json")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "no readable JSON"),
        (b"[" * 100_000, "no readable JSON"),
        (b'{"name": "\\u0000"}', "NUL"),
        (b'{"name": "\\ud800"}', "no readable JSON"),
        (b'{"name": NaN}', "NaN is no number"),
        (b'{"name": 1e999}', "no readable JSON"),
        (b"[" * 65 + b"]" * 65, "nested more than 64 levels deep"),
        (b"[]", "no mapping"),
        (b'{"trial": {"network": {"width": 99999999}}}', "no grid of this version"),
    ],
)
def test_a_grid_that_is_none_is_refused(handed: Path, other: Store, content: bytes, says: str) -> None:
    _refused(other, tampered(handed, {"e1/grid.json": content}), says)


def test_limits_of_this_service_hold_for_bundles(handed: Path, other: Store) -> None:
    _refused(other, handed, "over its limits", Limits(trials_per_experiment=3))


def _nested(levels: int) -> dict:
    found: dict = {}
    for _ in range(levels):
        found = {"inside": found}
    return found


def _lines(file: Path, change: Callable[[dict], object]) -> bytes:
    found = [json.loads(line) for line in _read(file, "e1/trials.ndjson").splitlines()]
    change(found[0])
    return b"".join(json.dumps(one).encode() + b"\n" for one in found)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fingerprint": "0" * 64}, "other trials than its grid makes"),
        ({"seed": 77}, "other trials than its grid makes"),
        ({"trial_id": "t2; DROP TABLE trial"}, "line 1 of e1/trials.ndjson: trial_id"),
        ({"state": "running"}, "has not ended"),
        ({"last_step": None}, "without a last step"),
        ({"last_step": 7}, "does not end where t1 ended"),
        ({"attempt": -1}, "attempt"),
        ({"attempt": 10**30}, "attempt"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"trial_id": "t2"}, "names a trial twice"),
        ({"trial_id": "t99"}, "which is no trial of e1"),
        ({"provenance": _nested(900)}, "line 1 of e1/trials.ndjson .* nested more than 64 levels deep"),
        ({"provenance": {"host": "h" * 70_000}}, "line 1 of e1/trials.ndjson: provenance"),
    ],
)
def test_trials_that_do_not_fit_their_grid_are_refused(handed: Path, other: Store, change: dict, says: str) -> None:
    _refused(other, tampered(handed, {"e1/trials.ndjson": _lines(handed, lambda one: one.update(change))}), says)


def _table(file: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> bytes:
    made = io.BytesIO()
    change(pl.read_parquet(io.BytesIO(_read(file, "e1/measurements.parquet")))).write_parquet(made)
    return made.getvalue()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: pl.concat([table, table.head(2)]), "step twice"),
        (lambda table: table.drop("layer"), "no column layer"),
        (lambda table: table.with_columns(step=-pl.col("step") - 1), "without a trial or a step"),
        (lambda table: table.with_columns(alignment=pl.lit("x")), "no readable table"),
        (lambda table: table.with_columns(best_exponent_kind=pl.lit("x")), "best_exponent_kind has the word 'x'"),
        (lambda table: table.with_columns(alignment=pl.concat_list("alignment")), "not numbers or words"),
        (lambda table: table.head(3), "does not end where|has no rows of"),
        (lambda table: pl.concat([table] * 20), "rows, and its trials can have"),
    ],
)
def test_tables_that_do_not_fit_their_trials_are_refused(
    handed: Path, other: Store, change: Callable[[pl.DataFrame], pl.DataFrame], says: str
) -> None:
    _refused(other, tampered(handed, {"e1/measurements.parquet": _table(handed, change)}), says)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_table_is_refused(handed: Path, other: Store, content: bytes) -> None:
    _refused(other, tampered(handed, {"e1/measurements.parquet": content}), "no readable table")


def test_pickles_are_never_read(handed: Path, other: Store, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    made = io.BytesIO()
    np.savez(made, x=np.array([Trap()], dtype=object), allow_pickle=True)
    about = json.dumps({"sha256": "a" * 64, "name": "trap", "facts": None}).encode()
    for content in (made.getvalue(), pickle.dumps(Trap())):
        changes = {f"datasets/{'a' * 64}.npz": content, f"datasets/{'a' * 64}.json": about}
        _refused(other, tampered(handed, changes), "datasets/a+.npz")
    _refused(other, tampered(handed, {"weights/t1/20.safetensors": pickle.dumps(Trap())}), "no .safetensors file")
    assert not (tmp_path / "sprung").exists()
