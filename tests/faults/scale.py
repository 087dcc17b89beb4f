"""How long the fault tests take: minutes in `make test`, as long as it takes in `make soak`."""

import os
from datetime import UTC, datetime

import pytest

IS_SOAK = os.environ.get("NFA_SOAK") == "1"
ROUNDS = 25 if IS_SOAK else 5
"""Faults during a sweep."""
STEPS = 96_000 if IS_SOAK else 24_000
"""Of each trial of that sweep."""
CONTENDED = 400 if IS_SOAK else 80
"""Seeds that workers on one store contend for."""
STACKED = 64 if IS_SOAK else 4
"""Trials in a stack with one that takes trainers down."""
STRIDE = 1 if IS_SOAK else 7
"""Every so manyth call fails in turn: a run of each day of a week has them all."""
EXAMPLES = 1000 if IS_SOAK else 40
"""Sequences of requests that the store and its model answer."""
SECONDS = 60.0 if IS_SOAK else 6.0
"""For which writers and readers contend."""


def first_of(day: int, stride: int = STRIDE) -> int:
    """The first call that fails in the runs of a day, given by its ordinal: all of them in `stride` days."""
    return day % stride


DAY = int(os.environ.get("NFA_DAY", datetime.now(UTC).toordinal()))
"""Which part of the calls fails: by the date, or as a run that failed has printed it."""

in_a_soak = pytest.mark.skipif(not IS_SOAK, reason="run by `make soak`")
