"""Programs that tests drive: their absence is a word at home and a failure in CI."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from installed import installed, is_ci

SCRIPT = Path(__file__).with_name("install.sh")
ALL = {
    "chromium": "chromium",
    "nginx": "nginx",
    "pgbouncer": "pgbouncer",
    "openssl": "openssl",
    "promtool": "prometheus",
}
"""Program -> its package."""


def _run(folder: Path, ci: str, *there: str, user: str = "1000") -> subprocess.CompletedProcess[str]:
    """The script on a machine that has these programs alone."""
    folder.mkdir()
    for name in there:
        (folder / name).write_text("#!/bin/sh\n")
    (folder / "id").write_text(f"#!/bin/sh\necho {user}\n")
    # Debian's installer, which has nothing to offer
    (folder / "apt-get").write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\nexit 100\n')
    for file in folder.iterdir():
        file.chmod(0o755)
    shell = SCRIPT.read_text().replace(":/usr/sbin:/usr/local/sbin", "")
    words = [str(shutil.which("sh")), "-c", shell]
    return subprocess.run(words, env={"PATH": str(folder), "CI": ci}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("missing", ALL)
def test_a_missing_program_fails_ci_and_is_told_elsewhere(tmp_path, missing):
    there = [name for name in ALL if name != missing]
    package = ALL[missing]
    for ci in ("true", "1"):
        done = _run(tmp_path / f"ci {ci}", ci, *there)
        assert done.returncode == 1 and f"apt-get install {package}" in done.stderr
    for ci in ("", "false", "0"):
        done = _run(tmp_path / f"home {ci}", ci, *there)
        assert done.returncode == 0 and f"apt-get install {package}" in done.stdout


def test_root_asks_for_what_is_missing_and_ci_fails_where_that_is_not_to_be_had(tmp_path):
    done = _run(tmp_path / "root", "true", "nginx", "openssl", "google-chrome", "promtool", user="0")
    assert done.returncode == 1 and "Not installed: pgbouncer." in done.stderr
    assert "--no-install-recommends pgbouncer" in (tmp_path / "root" / "asked").read_text()


def test_nothing_is_said_where_all_are_there(tmp_path):
    done = _run(tmp_path / "whole", "true", *ALL)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_tests_of_a_missing_program_are_skipped_at_home_and_fail_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install nothing"):
        installed("no-such-program", package="nothing")
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="apt-get install nothing"):
        installed("no-such-program", package="nothing")
    assert installed("no-such-program", "sh", package="nothing") == shutil.which("sh", path=os.environ["PATH"])


@pytest.mark.parametrize(("value", "wanted"), [("true", True), ("1", True), ("TRUE", True), ("", False), (None, False)])
def test_ci_is_what_it_says_it_is(value, wanted):
    assert is_ci(value) == wanted
    assert not is_ci("False") and not is_ci("0")
