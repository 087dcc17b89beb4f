"""The wheels do without the checkout: what is inside, the demo from an empty folder, the kernels alone."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from wheels import PACKAGES, ROOT, build_wheel, copy_of_the_tree, environment_with

PLAIN = {
    name: value for name, value in os.environ.items() if not name.startswith(("NFA_", "PYTHON", "VIRTUAL_ENV"))
} | {"OMP_NUM_THREADS": "1"}
KERNELS_ALONE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.path.insert(0, {folder!r})
import nfa_kernels.metrics
import nfa_kernels.networks
import nfa_kernels.optimizers
import nfa_kernels.programs.graph_program
import nfa_kernels.data
print(nfa_kernels.__file__)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tree, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def kernels_wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tree / "nfa_kernels", tmp_path_factory.mktemp("kernels"))


def _run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=folder, env=PLAIN, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done


def _packaged(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def _in_the_tree(*packages: str) -> set[str]:
    left_out = {"nfa_kernels/pyproject.toml", "nfa_kernels/LICENSE"}
    # what the page's editor is bundled from
    left_out |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "service" / "web" / "editor").rglob("*")}
    files = {
        path.relative_to(ROOT).as_posix()
        for name in packages
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not {"build", "dist"} & set(path.parts)
    }
    return {name for name in files if ".egg-info/" not in name} - left_out


def test_the_wheel_holds_every_file_of_every_package_and_nothing_else(wheel: Path) -> None:
    assert _packaged(wheel) == _in_the_tree(*PACKAGES)


def test_the_demo_passes_from_the_wheel_in_a_folder_with_nothing_of_ours(wheel: Path, tmp_path: Path) -> None:
    programs = environment_with(wheel, tmp_path / "environment")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    # a user's own files of our packages' names, which `python -m` would take for ours
    for name in PACKAGES:
        (folder / f"{name}.py").write_text("raise SystemExit('not the service')\n")
    ran = _run([programs / "nfa", "demo", "--json"], folder)
    answer = json.loads(ran.stdout)
    assert answer["experiment"]["counts"]["completed"] == 150
    assert [one["holds"] for one in answer["verdicts"]] == [True] * 6
    for name in ("alignment", "one-minus-alignment"):
        assert (folder / "demo" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    script = "import service, workers, migrations; print(service, workers, migrations)"
    where = _run([programs / "python", "-P", "-c", script], folder)
    assert where.stdout.count(str(tmp_path / "environment")) == 3


def test_the_kernels_wheel_holds_their_files_and_their_licence(kernels_wheel: Path) -> None:
    assert _packaged(kernels_wheel) == _in_the_tree("nfa_kernels")
    with zipfile.ZipFile(kernels_wheel) as archive:
        (licence,) = (name for name in archive.namelist() if name.endswith("/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_kernels_are_imported_where_nothing_of_the_service_is_installed(
    kernels_wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(kernels_wheel) as archive:
        archive.extractall(tmp_path)
    script = KERNELS_ALONE.format(refused=_only_the_services(), folder=str(tmp_path))
    ran = _run([sys.executable, "-P", "-c", script], tmp_path)
    assert ran.stdout.strip().startswith(str(tmp_path))


def _only_the_services() -> set[str]:
    """Modules of what the service requires and the kernels do not."""
    required = {_name(one) for one in _project("pyproject.toml")["dependencies"]}
    own = {_name(one) for one in _project("nfa_kernels/pyproject.toml")["dependencies"]}
    modules = {
        module
        for module, distributions in metadata.packages_distributions().items()
        if {re.sub(r"[-_.]+", "-", one).lower() for one in distributions} & (required - own)
    }
    assert {"ray", "fastapi", "sqlalchemy", "polars", "pyarrow", "pydantic"} <= modules
    return modules | {"service", "workers", "migrations"}


def test_both_distributions_have_one_version_and_require_the_same_of_torch_and_numpy() -> None:
    service, kernels = _project("pyproject.toml"), _project("nfa_kernels/pyproject.toml")
    for key in ("dynamic", "license", "requires-python"):
        assert service[key] == kernels[key]
    assert set(kernels["dependencies"]) <= set(service["dependencies"])
    assert kernels["optional-dependencies"]["data"] == service["optional-dependencies"]["data"]


def _project(file: str) -> dict:
    return tomllib.loads((ROOT / file).read_text())["project"]


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()
