"""Compiles the C source of this folder with the machine's compiler, once, and finds it again; torch-free.

Compiled files are kept in a folder that this user alone can write, under a name that says what they were made of, by
what and for which processor: one of them is never run on another one, and a changed source is another file.
"""

import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SOURCES = {
    "fused": ("fused.c", "call.h", "steps.h", "products.h", "rules.h"),
    "graph": (
        *("graph.c", "call.h", "graph.h", "steps.h", "products.h", "rules.h", "wide.h"),
        *("elementary.h", "bends.h", "gathered.h", "pointwise.h", "maps.h", "tokens.h"),
    ),
    "metrics": (
        *("metrics.c", "call.h", "steps.h", "products.h", "rules.h", "elementary.h", "exponents.h", "gram.h"),
        *("rotations.h", "eigenvectors.h", "thin.h", "product_metrics.h", "entries.h"),
    ),
    "sweep": ("sweep.c", "call.h", "steps.h", "products.h", "rules.h", "elementary.h", "bends.h"),
}
"""Name of what is compiled by itself -> its files, first the one that reads the others."""
ENTRIES = {
    "fused": "nfa_fused_steps",
    "graph": "nfa_graph_steps",
    "metrics": "nfa_best_exponents",
    "sweep": "nfa_sweep",
}
"""Name of what is compiled by itself -> a function that it has."""
TYPES = ("float32", "float64")
SWITCH = "NFA_NATIVE"
"""Environment variable: 0 leaves everything to the tensor library."""
_FLAGS = (
    *("-std=gnu11", "-O2", "-ftree-vectorize", "-ffp-contract=fast", "-fPIC", "-shared"),
    # of these none lets the compiler assume that a number is finite
    *("-fno-math-errno", "-fno-trapping-math"),
)
_SECONDS = 60
_SUM_BYTES = 32


class NoLibrary(Exception):
    """Nothing is compiled here; the text says why and what would help."""


class Compiler(NamedTuple):
    """A C compiler."""

    command: tuple[str, ...]
    version: str
    """The first line that it says about itself."""


def is_off() -> bool:
    """Whether compiled steps are switched off."""
    return os.environ.get(SWITCH) == "0"


def compiler() -> Compiler:
    """The machine's C compiler: $CC, cc, gcc, clang, or the one of the package ziglang.

    Raises:
        NoLibrary: there is none, or it is switched off.
    """
    if is_off():
        raise NoLibrary(f"{SWITCH}=0 switches compiled steps off")
    named = os.environ.get("CC")
    candidates: list[tuple[str, ...]] = [tuple(named.split())] if named else [("cc",), ("gcc",), ("clang",)]
    if not named and importlib.util.find_spec("ziglang"):
        candidates.append((sys.executable, "-m", "ziglang", "cc"))
    for command in candidates:
        found = shutil.which(command[0])
        if found:
            said = _run((found, *command[1:], "--version"))
            return Compiler((found, *command[1:]), (said.splitlines() or ["unknown"])[0])
    told = " ".join(candidates[0]) if named else "cc, gcc or clang"
    raise NoLibrary(f"no C compiler: {told} is not on the PATH; install gcc, or the package ziglang")


def library(dtype: str, source: str = "fused") -> ctypes.CDLL:
    """The compiled steps for one of TYPES, from the folder or compiled now, which takes a second.

    Args:
        dtype: one of TYPES.
        source: one of SOURCES.

    Raises:
        NoLibrary: it cannot be compiled or loaded here.
    """
    by = compiler()
    try:
        folder = cache_folder()
    except OSError:
        # nobody else's folder, and gone again once it is loaded
        with tempfile.TemporaryDirectory(prefix="nfa-native-") as own:
            return _loaded(_compiled(by, dtype, source, Path(own) / "steps.so"), source)
    path = folder / file_name(by, dtype, source)
    if _is_ours(path) and _is_whole(path):
        return _loaded(path, source)
    return _loaded(_compiled(by, dtype, source, path), source)


def cache_folder() -> Path:
    """The folder of compiled files; made if it does not exist.

    Raises:
        OSError: there is no home, it cannot be made, or others may write there too.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        # a user whom the system does not know, as in some containers
        raise OSError(f"there is no home for compiled files: {error}") from error
    folder = Path(base) / "nfa" / "native"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_ours(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder}: others may write there")
    return folder


def _is_ours(path: Path) -> bool:
    """Whether a file or folder is there, is this user's and can be written by nobody else."""
    try:
        found = path.lstat()
    except OSError:
        return False
    theirs = stat.S_IWGRP | stat.S_IWOTH
    return found.st_uid == os.getuid() and not found.st_mode & theirs and not stat.S_ISLNK(found.st_mode)


def _is_whole(path: Path) -> bool:
    """Whether a file ends with the checksum of what is before: loading half a library may end the process."""
    content = path.read_bytes()
    return hashlib.sha256(content[:-_SUM_BYTES]).digest() == content[-_SUM_BYTES:]


def file_name(by: Compiler, dtype: str, source: str = "fused") -> str:
    """The name says what a compiled file follows from: sources, compiler, flags and processor."""
    texts = [(HERE / name).read_text() for name in SOURCES[source]]
    told = "\0".join([*texts, *by.command, by.version, *_FLAGS, dtype, _processor()])
    return f"{source}-{dtype}-{hashlib.sha256(told.encode()).hexdigest()[:24]}.so"


@functools.cache
def _processor() -> str:
    """The instructions that this processor has, as far as the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    said = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    names = ("model name", "flags", "Features", "CPU part")
    return " ".join([platform.machine(), platform.processor(), *(said.get(name, "") for name in names)])


def _compiled(by: Compiler, dtype: str, source: str, path: Path) -> Path:
    """Compile to a path. Whoever else does so at the same time makes the same file; each appears there whole."""
    descriptor, draft = tempfile.mkstemp(suffix=".so", dir=path.parent)
    os.close(descriptor)
    real, code = f"-DNFA_{dtype.upper()}", str(HERE / SOURCES[source][0])
    try:
        try:
            _run((*by.command, *_FLAGS, "-march=native", real, code, "-o", draft, "-lm"))
        except NoLibrary:
            # some compilers know no native
            _run((*by.command, *_FLAGS, real, code, "-o", draft, "-lm"))
        with open(draft, "ab+") as file:
            # no loader reads what is behind the last section
            file.seek(0)
            file.write(hashlib.sha256(file.read()).digest())
        os.replace(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)
    return path


def _loaded(path: Path, source: str) -> ctypes.CDLL:
    try:
        found = ctypes.CDLL(str(path))
        found[ENTRIES[source]].restype = ctypes.c_int
    except (OSError, AttributeError) as error:
        raise NoLibrary(f"what was compiled cannot be loaded: {error}") from error
    return found


def _run(command: tuple[str, ...]) -> str:
    """What a command says.

    Raises:
        NoLibrary: it fails, cannot be started or takes a minute.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoLibrary(f"the C compiler does not run: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise NoLibrary(f"the C compiler {command[0]} fails: {last[:200]}")
    return done.stdout


def state() -> str:
    """What compiles steps here, for people.

    Raises:
        NoLibrary: nothing does.
    """
    for dtype in TYPES:
        for source in SOURCES:
            library(dtype, source)
    return f"compiled by {compiler().version}"
