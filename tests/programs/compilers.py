"""The C compiler of steps: tests of what it compiles are skipped with a word where there is none, and fail in CI."""

import os

import pytest
from installed import is_ci

from nfa_kernels.native import compiling


def has_compiler() -> bool:
    """Whether there is one."""
    try:
        compiling.compiler()
    except compiling.NoLibrary:
        return False
    return True


# in CI they run, and fail with what is missing
needs_compiler = pytest.mark.skipif(
    not has_compiler() and not is_ci(os.environ.get("CI")), reason="no C compiler on this machine"
)
