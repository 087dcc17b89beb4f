"""Builds this tree's wheels and makes environments that have them installed, and not the checkout."""

import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("service", "workers", "nfa_kernels", "migrations")


def build_wheel(source: Path, folder: Path) -> Path:
    """The wheel that `python -m build` makes of a folder, by way of its source archive; nothing is downloaded."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def copy_of_the_tree(folder: Path) -> Path:
    """What is packaged, and nothing that earlier builds left."""
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def environment_with(wheel: Path, folder: Path) -> Path:
    """A fresh environment with the wheel, and with the dependencies of the one that runs; answers its `bin`.

    The running environment's packages are appended by a path file, whose own path files are not read: a checkout that
    is installed there for editing stays out.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True, text=True)
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (own / "running.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder / "bin"
