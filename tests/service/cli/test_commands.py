"""The `nfa` command as a script sees it: one line on standard error and an exit code for everything that is wrong."""

import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from nfa_command import NOWHERE, nfa
from receiver import receiving
from sqlalchemy import text
from typer.core import TyperGroup
from typer.main import get_group
from typer.testing import CliRunner

from service.cli import display, doctor
from service.cli.main import app
from service.cli.plain_tables import PlainTable
from service.cli.preflight import prepare_home
from service.presets import preset_names
from service.store import schema
from service.store.session import open_store

NFA = str(Path(sys.executable).with_name("nfa"))


def started(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Start the script itself; no service answers at its default address."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("NFA_")}
    return subprocess.run(
        [NFA, *arguments],
        env=plain | {"NFA_URL": NOWHERE} | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """What it said on standard error, which is one line, without a traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_used_port_is_told_in_one_line(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = one_line(started("up", "--home", str(home), "--port", port), 4)
    assert port in said and "--port" in said


def test_the_home_is_its_owners_alone(tmp_path):
    home = prepare_home(tmp_path / "new" / "home")
    assert [folder.stat().st_mode & 0o777 for folder in (home, home / "logs")] == [0o700, 0o700]


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    said = one_line(started("up", "--home", str(tmp_path / "file" / "home"), "--port", "0"), 4)
    assert "--home" in said


def test_a_database_from_a_newer_version_is_told_in_one_line(home):
    with open_store(f"sqlite:///{home / 'nfa.db'}") as store:
        schema.upgrade(store)
        with store.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    said = one_line(started("up", "--home", str(home), "--port", "0"), 4)
    assert "9999" in said and "newer" in said
    assert "9999" in one_line(nfa("db", "current", "--home", str(home)), 4)


def test_a_home_is_backed_up_and_restored_and_never_overwritten_unasked(home, tmp_path):
    made, other = tmp_path / "backup", tmp_path / "other"
    assert "no database" in one_line(nfa("db", "backup", str(made), "--home", str(home)), 4)
    assert nfa("token", "create", "anna", "--scope", "admin", "--home", str(home)).returncode == 0
    assert "bytes" in nfa("db", "backup", str(made), "--home", str(home)).stdout
    assert "--replace" in one_line(nfa("db", "backup", str(made), "--home", str(home)), 5)
    assert nfa("db", "restore", str(made), "--home", str(other)).returncode == 0
    assert "anna" in nfa("token", "list", "--home", str(other)).stdout
    assert "--replace" in one_line(nfa("db", "restore", str(made), "--home", str(other)), 5)
    assert nfa("db", "restore", str(made), "--home", str(other), "--replace").returncode == 0


def test_gc_says_what_goes_and_how_many_bytes(home):
    for options in (["--dry-run"], []):
        said = json.loads(nfa("gc", "--home", str(home), "--json", *options).stdout)
        assert said["dry_run"] == bool(options) and said["bytes_before"] > 0
        assert {one["rows"] for one in said["items"]} == {0}
    assert "lifetime" in one_line(nfa("gc", "--home", str(home), "--keys-older", "soon"), 2)


def test_a_missing_ray_is_told_in_one_line(home, tmp_path):
    # a module that hides the installed one from this process and says that it is not there
    hidden = (
        "import sys, importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *a: None if n == 'ray' else f(n, *a)"
    )
    code = f"{hidden}; sys.argv = ['nfa', 'up', '--home', {str(home)!r}]; from service.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    said = one_line(done, 4)
    assert "ray" in said and "nfa doctor" in said


def test_an_address_where_nobody_answers_is_told_in_one_line():
    for command in (["list"], ["cancel", "e1"], ["presets", "run", "depth"]):
        said = one_line(nfa(*command), 3)
        assert "127.0.0.1:9" in said and "nfa up" in said


def test_a_grid_that_is_no_file_is_told_in_one_line():
    assert "nothing.yaml" in one_line(nfa("submit", "nothing.yaml"), 2)


def test_presets_are_listed_and_shown_without_a_service():
    listed = json.loads(nfa("presets", "--json").stdout)
    assert [one["name"] for one in listed] == preset_names()
    shown = nfa("presets", "show", "weight-decay")
    assert shown.returncode == 0 and "training.weight_decay" in shown.stdout


def test_the_database_is_made_and_upgraded_by_hand(home):
    assert one_line(nfa("db", "current", "--home", str(home)), 4)
    assert nfa("db", "upgrade", "--home", str(home)).stdout.strip() == f"schema {schema.head()}"
    assert nfa("db", "upgrade", "--home", str(home)).returncode == 0
    assert nfa("db", "current", "--home", str(home)).stdout.strip() == f"schema {schema.head()}"
    assert (home / "nfa.db").stat().st_mode & 0o077 == 0


def test_every_command_has_help_that_names_the_exit_codes():
    runner = CliRunner()
    commands = get_group(app).commands
    groups = {name: list(group.commands) for name, group in commands.items() if isinstance(group, TyperGroup)}
    assert groups.keys() == {"presets", "datasets", "db", "token"}
    assert {"up", "demo", "run", "submit", "watch", "list", "show", "results", "plot", "cancel", "doctor"} <= set(
        commands
    )
    calls = [[name] for name in commands if name not in groups]
    calls += [[group, name] for group, inside in groups.items() for name in inside]
    for call in calls:
        done = runner.invoke(app, [*call, "--help"])
        assert done.exit_code == 0 and "Exit codes" in done.stdout


def test_a_list_of_commands_says_what_each_says_of_itself_and_imports_none():
    _, _, shown = CliRunner().invoke(app, ["--help"]).stdout.partition("Commands")
    in_one_line = re.sub(r" *│\n│ {2,}", " ", shown)
    listed = dict(re.findall(r"^│ (\w+) +(.*?) *│$", in_one_line, re.MULTILINE))
    commands = get_group(app).commands
    assert listed == {name: " ".join((one.help or "").split("\n\n")[0].split()) for name, one in commands.items()}
    script = "import atexit, sys; atexit.register(lambda: print('polars' in sys.modules, 'httpx' in sys.modules))"
    script += "; from service.cli.main import main; main()"
    asked = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True)
    assert "resume" in asked.stdout and asked.stdout.endswith("False False\n")


def test_doctor_names_what_it_found_as_json(home):
    done = nfa("doctor", "--json", environment={"NFA_HOME": str(home)})
    found = json.loads(done.stdout)
    assert done.returncode in (0, 1) and found


@pytest.mark.parametrize(("status", "is_fine"), [(200, True), (401, False)])
def test_doctor_says_whether_the_receiver_of_traces_takes_them(home, status, is_fine):
    with receiving(status) as receiver:
        own = {"NFA_HOME": str(home), "NFA_OTLP_ENDPOINT": receiver.address, "NFA_OTLP_HEADERS": "x-key=hunter2"}
        done = nfa("doctor", "--json", environment=own)
        assert [one.headers["x-key"] for one in receiver.got] == ["hunter2"]
    (found,) = [one for one in json.loads(done.stdout) if one["subject"] == "traces"]
    assert found["ok"] is is_fine and ("401" in found["words"]) is not is_fine
    assert "hunter2" not in done.stdout + done.stderr


def test_doctor_says_why_nothing_can_be_sent_to_the_receiver_of_traces(monkeypatch):
    monkeypatch.setenv("NFA_OTLP_ENDPOINT", "http://receiver.test:4318")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    (found,) = doctor._traces()
    assert found.ok is False and "httpx[socks]" in found.words


def test_an_export_to_an_unknown_kind_of_file_says_which_there_are(tmp_path):
    said = one_line(nfa("export", "e1", str(tmp_path / "sweep.xlsx")), 2)
    assert ".parquet" in said


def test_what_stands_in_brackets_is_shown_as_it_is(capsys):
    display.out.print(PlainTable({"found": "left"}, [("pip install 'httpx[socks]' [/x] [red]",)]))
    display.out.print("a sweep named [/x]")
    said = capsys.readouterr().out
    assert "httpx[socks]' [/x] [red]" in said and "named [/x]" in said


def test_a_shell_completes_commands_and_the_version_is_told() -> None:
    asked = {"_NFA_COMPLETE": "complete_bash", "COMP_WORDS": "nfa su", "COMP_CWORD": "1"}
    assert started(environment=asked).stdout.split() == ["submit"]
    # what --install-completion writes; that looks for the shell it was called from, which need not be one it knows
    assert "COMP_WORDS" in started(environment={"_NFA_COMPLETE": "source_bash"}).stdout
    assert started("--version").stdout.strip() == importlib.metadata.version("nfa-service")


def test_a_layer_that_is_neither_a_number_nor_a_name_is_told_in_one_line():
    for command in ("results", "plot"):
        assert "its number, from 1 to 1000, or its name" in one_line(nfa(command, "e1", "--layer", "0"), 2)
