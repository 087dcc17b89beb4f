"""The `nfa` command, called where the test runs: the same words, environment, output and exit code, no new process."""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Mapping
from subprocess import CompletedProcess

import pytest

from service.cli.main import main

NOWHERE = "http://127.0.0.1:9"
"""Where no service answers."""


def nfa(*words: str, environment: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Call the command as its script does; of what it starts from it knows only what is named here.

    Not for commands that serve, which take over signals.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for name in [name for name in os.environ if name.startswith("NFA_")]:
            patch.delenv(name)
        for name, value in ({"NFA_URL": NOWHERE} | dict(environment or {})).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["nfa", *words])
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            traceback.print_exc()
            code = 1
    return CompletedProcess(words, code, out.getvalue(), err.getvalue())
