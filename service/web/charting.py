"""Vega in a process of its own: vl-convert holds Python's lock for seconds, in which a service would answer nobody."""

import base64
import gzip
import hashlib
import importlib.metadata
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Literal

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
_SEVERAL: Final = """
import base64, json, sys, vl_convert
draw = getattr(vl_convert, f"vegalite_to_{sys.argv[1]}")
json.dump([base64.b64encode(draw(one)).decode() for one in json.load(sys.stdin)], sys.stdout)
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


def drawn_together(specs: Sequence[str], form: Literal["png", "pdf"]) -> list[bytes]:
    """Several of them: starting the process takes longer than drawing one."""
    made = _run(form, f"[{','.join(specs)}]".encode(), _SEVERAL)
    return [base64.b64decode(one) for one in json.loads(made)]


def _make(promised: Future[Bundle]) -> None:
    try:
        plain = _run("bundle", b"")
        tag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'
        promised.set_result(Bundle(plain, gzip.compress(plain, 9, mtime=0), tag))
    except Exception as error:
        promised.set_exception(error)


def _run(form: str, given: bytes, program: str = _PROGRAM) -> bytes:
    # -P: a json.py in the folder where the service was started is not Python's
    found = subprocess.run(
        [sys.executable, "-P", "-c", program, form], input=given, capture_output=True, timeout=_SECONDS, check=False
    )
    if found.returncode:
        raise RuntimeError(f"vl-convert could not make {form}: {found.stderr.decode(errors='replace')[-500:]}")
    return found.stdout
