"""The script of docs/howto/slurm.md, with srun and scontrol replaced by programs that stay on this machine."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from processes import ended, rows, wait_until

from service.grid.expansion import expand
from service.store import cluster, submissions

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "slurm.md"
SRUN = """#!/bin/bash
# every step runs here, once
while [[ "$1" == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
printf '127.0.0.1\\nother\\n'
"""


@pytest.fixture
def folder():
    """A short path, as paths of Ray's sockets need."""
    made = Path(tempfile.mkdtemp(prefix="nfa-s-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def script() -> str:
    return re.findall(r"```bash\n(#!/bin/bash\n.*?)```", PAGE.read_text(), re.S)[0]


@pytest.fixture
def environment(folder, store_url):
    """Of a job of two nodes with one CPU each."""
    (folder / "bin").mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    (folder / "nfa.env").write_text(f"NFA_DATABASE_URL='{store_url}'\nNFA_IDLE_POLL_SECONDS=0.1\n")
    job = str(os.getpid())
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("NFA_", "RAY_"))}
    yield plain | {
        "HOME": str(folder),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": job,
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
        "NFA_BIN": str(Path(sys.executable).parent),
        "NFA_DATABASE_URL": "postgresql://secret@nowhere/nothing",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "NFA_RAY_OPTIONS": "--node-ip-address=127.0.0.1 --object-store-memory=100000000",
    }
    shutil.rmtree(f"/tmp/nfa-{job}", ignore_errors=True)


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_job_trains_what_waits_and_leaves_nothing_behind(store, environment, folder, tiny_grid):
    experiment = submissions.create_experiment(store, expand(tiny_grid())).id
    (folder / "nfa.sbatch").write_text(script())
    with (folder / "log").open("wb") as log:
        job = subprocess.Popen(["bash", str(folder / "nfa.sbatch")], env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: ended(store, experiment) or job.poll() is not None, grown=lambda: rows(store))
        assert ended(store, experiment), (folder / "log").read_text()
        tokens = list(folder.glob(".nfa-ray-token-*"))
        assert [token.stat().st_mode & 0o777 for token in tokens] == [0o600]
        children = psutil.Process(job.pid).children(recursive=True)
        raylets = [one for one in children if one.name() == "raylet"]
        assert raylets and not any("NFA_DATABASE_URL" in one.environ() for one in raylets)
        job.send_signal(signal.SIGTERM)
        assert job.wait(120) == 0, (folder / "log").read_text()
        assert cluster.list_dispatchers(store) == [], "it signed off"
        assert list(folder.glob(".nfa-ray-token-*")) == []
        assert psutil.wait_procs(children, timeout=60)[1] == []
    finally:
        for one in [*psutil.Process(job.pid).children(recursive=True), job] if job.poll() is None else []:
            one.kill()
