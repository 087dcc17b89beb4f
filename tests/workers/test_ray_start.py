"""What is left of dead dispatchers is removed; what belongs to living ones stays."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from workers.ray_start import remove_orphans


@pytest.fixture
def ended_process() -> int:
    """Id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_rays_files_of_ended_dispatchers_are_removed_and_those_of_living_ones_stay(ended_process):
    orphan = Path(tempfile.mkdtemp(prefix=f"nfa-ray-{ended_process}-", dir="/tmp"))
    living = Path(tempfile.mkdtemp(prefix=f"nfa-ray-{os.getpid()}-", dir="/tmp"))
    remove_orphans()
    assert not orphan.exists()
    assert living.exists()
    living.rmdir()
