"""Vega in a process of its own: vl-convert holds Python's lock for seconds, in which a service would answer nobody."""

import gzip
import hashlib
import importlib.metadata
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

_SECONDS: Final = 120.0
_PROGRAM: Final = """
import json, sys, vl_convert
form = sys.argv[1]
if form == "bundle":
    made = vl_convert.javascript_bundle()
else:
    draw = getattr(vl_convert, f"vegalite_to_{form}")
    made = draw(json.load(sys.stdin), **({"scale": 2.0} if form == "png" else {}))
sys.stdout.buffer.write(made.encode() if isinstance(made, str) else made)
"""
VERSION: Final = importlib.metadata.version("vl-convert-python")
"""In the bundle's address, so that it may be kept for ever."""


@dataclass(frozen=True)
class Bundle:
    """Vega, Vega-Lite and Vega-Embed in one script."""

    plain: bytes
    zipped: bytes
    etag: str


_lock = threading.Lock()
_bundle: list[Future[Bundle]] = []


def bundle() -> Bundle:
    """The script, out of vl-convert's own copy; made once, which takes seconds."""
    try:
        return prepare().result(_SECONDS)
    except BaseException:
        with _lock:
            _bundle.clear()
        raise


def prepare() -> Future[Bundle]:
    """Begin to make the script unless that was done: the first page asks, so that the first figure need not wait."""
    with _lock:
        if not _bundle:
            _bundle.append(Future())
            threading.Thread(target=_make, args=(_bundle[0],), name="charting", daemon=True).start()
        return _bundle[0]


def drawn(spec: str, form: str) -> bytes:
    """A Vega-Lite specification as svg, png or pdf."""
    return _run(form, spec.encode())


def _make(promised: Future[Bundle]) -> None:
    try:
        plain = _run("bundle", b"")
        tag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'
        promised.set_result(Bundle(plain, gzip.compress(plain, 9, mtime=0), tag))
    except Exception as error:
        promised.set_exception(error)


def _run(form: str, given: bytes) -> bytes:
    # -P: a json.py in the folder where the service was started is not Python's
    found = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM, form], input=given, capture_output=True, timeout=_SECONDS, check=False
    )
    if found.returncode:
        raise RuntimeError(f"vl-convert could not make {form}: {found.stderr.decode(errors='replace')[-500:]}")
    return found.stdout
