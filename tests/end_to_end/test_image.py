"""The Dockerfile without a container engine: linted, and its own steps run as a script in a folder."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def _hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    command = [BIN / "hadolint", "--no-color", "--config", ROOT / ".hadolint.yaml", file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    found = _hadolint(ROOT / "Dockerfile")
    assert found.returncode == 0, found.stdout
    (wrong := tmp_path / "Dockerfile").write_text(DOCKERFILE.replace(" --no-install-recommends", ""))
    assert "DL3015" in _hadolint(wrong).stdout, "it would not notice"


def _instructions(stage: str) -> list[tuple[str, str]]:
    """A stage's instructions: word and the rest, continued lines joined."""
    text = DOCKERFILE.replace("\\\n", "")
    (own,) = re.findall(rf"^FROM \S+ AS {stage}\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL)
    lines = [line for line in own.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def test_the_steps_that_build_the_image_make_an_environment_that_runs_from_what_they_copy(tmp_path: Path) -> None:
    """With what this environment has, instead of what would be downloaded; apt-get and users are left out."""
    source, made = tmp_path / "source", tmp_path / "opt" / "nfa"
    source.mkdir()
    arguments: dict[str, str] = {}
    installed = sysconfig.get_path("purelib")
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for word, rest in [*_instructions("build"), *_instructions("build-cpu")]:
        if word == "COPY":
            *names, target = shlex.split(rest)
            for name in names:
                _copied(ROOT / name, source / target if len(names) == 1 else source)
        elif word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif word == "RUN":
            script = rest.replace("/opt/nfa", str(made)).replace("python -m venv", f"{sys.executable} -m venv")
            environment = plain | arguments | offline | {"PYTHONPATH": installed, "TMPDIR": str(tmp_path)}
            ran = subprocess.run(
                ["sh", "-ec", script], cwd=source, env=environment, capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
        else:
            assert (word, rest) == ("WORKDIR", "/source")
    (libraries,) = made.glob("lib/python*/site-packages")
    script = "import service.cli.main, workers, migrations, nfa_kernels; print(service.__file__)"
    environment = plain | {"PYTHONPATH": f"{libraries}:{installed}"}
    ran = subprocess.run(
        [made / "bin" / "python", "-P", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.startswith(str(libraries))
    assert list(libraries.glob("service/__pycache__/main.*.pyc")), "not compiled: a read-only root would compile anew"
    (command,) = {rest for word, rest in _instructions("cpu") if word == "CMD"}
    program, *words = json.loads(command)
    said = subprocess.run([made / "bin" / program, *words], env=environment, capture_output=True, text=True, check=True)
    assert "nfa" in said.stdout and "submit" in said.stdout


def _copied(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    else:
        shutil.copy(path, target if target.is_dir() else target.parent)


def test_compose_reads_its_file(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no `docker compose` on this machine: the schema of Compose stands in for it (test_compose.py)")
    command = [docker, "compose", "--file", ROOT / "docker-compose.yml", "config", "--quiet"]
    environment = {**os.environ, "NFA_POSTGRES_PASSWORD": "a"}
    read = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
