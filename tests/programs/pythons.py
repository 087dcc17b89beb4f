"""Runs the fast tests on every Python that is promised and that this machine has, and says which ran.

    python tests/programs/pythons.py [--torch torch==2.13.0] [--index URL] [--without-torch] [3.12 ..]

Each has a virtual environment of its own, .venv-3.12. Without torch the tests of what the service computes run alone,
for which neither torch nor Ray is installed: the wheels of torch for several Pythons are gigabytes.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SERVICE = [f"tests/service/{name}" for name in ("datasets", "grid", "planning", "questions")]
FAST = ["tests/nfa_kernels", "tests/workers", *SERVICE]
NEEDS_TORCH = ["tests/service/grid/test_data_shapes.py"]
NOT_WITHOUT = ("torch", "ray")


def main() -> None:
    """Exits 1 where tests failed on one of them, or ran on none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", default=PYTHONS, metavar="3.x")
    parser.add_argument("--torch", default="torch==2.13.0", help="what of torch to install")
    parser.add_argument("--index", default="", help="a further package index for it")
    parser.add_argument("--without-torch", action="store_true")
    chosen = parser.parse_args()
    told = {version: tried(version, chosen) for version in chosen.pythons}
    for version, says in told.items():
        print(f"Python {version}: {says}")
    ran = [says for says in told.values() if not says.startswith("not run")]
    sys.exit(not ran or any("failed" in says or "error" in says for says in ran))


def tried(version: str, chosen: argparse.Namespace) -> str:
    """What came of a version, in one line."""
    found = interpreter(version)
    if found is None:
        return "not run: not on this machine"
    python = ROOT / f".venv-{version}" / "bin" / "python"
    if not python.exists():
        subprocess.run([found, "-m", "venv", python.parents[1]], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--extra-index-url", chosen.index] if chosen.index else []
    wanted = [required(), ["--no-deps", "-e", "."]] if chosen.without_torch else [[chosen.torch, "-e", ".[test,data]"]]
    for packages in wanted:
        done = subprocess.run([*pip, *packages], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"not run: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}"
    tests = [*SERVICE, *(f"--ignore={one}" for one in NEEDS_TORCH)] if chosen.without_torch else FAST
    with subprocess.Popen([python, "-m", "pytest", "-q", *tests], cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        last = ""
        for line in run.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    says = re.sub(r"^=+ | =+$", "", last)
    if run.returncode and "failed" not in says and "error" not in says:
        says = f"error, pytest ended with {run.returncode}: {says}"
    return f"{says}{', without torch' if chosen.without_torch else ''}"


def interpreter(version: str) -> str | None:
    """A Python of this version that runs: on the path, or one of pyenv's."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for one in (shutil.which(f"python{version}"), *map(str, reversed(pyenv))):
        if one is None:
            continue
        asked = [one, "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
        says = subprocess.run(asked, capture_output=True, check=False)
        if says.stdout.decode().strip() == version:
            return one
    return None


def required() -> list[str]:
    """What the service and its tests require, but for torch and what brings it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    every += project["optional-dependencies"]["data"]
    return [one for one in every if re.split(r"[<>=\[;~! ]", one, maxsplit=1)[0] not in NOT_WITHOUT]


if __name__ == "__main__":
    main()
