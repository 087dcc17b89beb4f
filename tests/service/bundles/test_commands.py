"""`nfa bundle` and `nfa import` as a person calls them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.exits import Exit, Stop
from service.cli.main import app
from service.errors import InvalidBundle
from service.store.experiments import get_experiment
from service.store.session import open_store


def test_experiments_come_first_and_a_zip_last() -> None:
    for wrong in (["study.zip"], ["e1", "e2"], ["e1", "study.tar"]):
        refused = CliRunner().invoke(app, ["bundle", *wrong])
        assert isinstance(refused.exception, Stop) and "nfa bundle e1 e2 study.zip" in str(refused.exception)
        assert refused.exception.code is Exit.USAGE


def test_a_bundle_is_imported_into_a_home(handed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = CliRunner().invoke(app, ["import", str(handed), "--home", str(home), "--owner", "grace", "--json"])
    assert done.exit_code == 0, done.exception
    first, second = json.loads(done.output)["experiments"]
    assert (first["source"], first["trials"], first["reused"], second["reused"]) == ("e1", 6, 0, 6)
    with open_store(f"sqlite:///{home / 'nfa.db'}") as store:
        one = get_experiment(store, first["id"])
    assert (one.owner, one.name, one.state) == ("grace", "a study", "completed")


def test_what_is_no_bundle_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "not.zip").write_bytes(b"nonsense")
    for wrong, says in (("not.zip", "no readable ZIP archive"), ("none.zip", "is not a file")):
        refused = CliRunner().invoke(app, ["import", str(tmp_path / wrong), "--home", str(tmp_path / "home")])
        with pytest.raises(InvalidBundle, match=says):
            raise refused.exception or AssertionError
