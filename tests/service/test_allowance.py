"""What a process may use of its machine, by the files of control groups as kernels and containers have them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.allowance import REST_BYTES, TRAINER_BYTES, Allowance, allowance

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
DOCKER_V1 = V1.replace(" / /sys", " /docker/abc /sys")
ODD = "33 31 0:29 / /cgroups\\040here/cpu rw - cgroup cgroup rw,cpu\n"
NONE_V1 = "9223372036854771712"


def machine(folder: Path, cgroup: str, mountinfo: str, **files: str) -> Path:
    """A root with these files; the names of control files have their paths below /sys/fs/cgroup."""
    proc = folder / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(mountinfo)
    for name, text in files.items():
        file = folder / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return folder


S = "/sys/fs/cgroup"
CASES = {
    "nothing limits, version 2": ("0::/user.slice\n", V2, {f"{S}/user.slice/cpu.max": "max 100000"}, None),
    "version 2": ("0::/job\n", V2, {f"{S}/job/cpu.max": "400000 100000"}, 4.0),
    "a fraction, and a period of its own": ("0::/job\n", V2, {f"{S}/job/cpu.max": "125000 50000"}, 2.5),
    "a group above is narrower": (
        "0::/slurm/job_7/step_0\n",
        V2,
        {f"{S}/slurm/job_7/step_0/cpu.max": "max 100000", f"{S}/slurm/job_7/cpu.max": "300000 100000"},
        3.0,
    ),
    "a container of its own namespace": ("0::/\n", V2, {f"{S}/cpu.max": "150000 100000"}, 1.5),
    "a container that is told its path outside": ("0::/docker/abc\n", V2, {f"{S}/cpu.max": "200000 100000"}, 2.0),
    "nothing limits, version 1": (
        "4:cpu,cpuacct:/job\n",
        V1,
        {f"{S}/cpu,cpuacct/job/cpu.cfs_quota_us": "-1", f"{S}/cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
        None,
    ),
    "version 1": (
        "9:memory:/job\n4:cpu,cpuacct:/job\n",
        V1,
        {f"{S}/cpu,cpuacct/job/cpu.cfs_quota_us": "250000", f"{S}/cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
        2.5,
    ),
    "version 1, a container that sees its group as the top one": (
        "4:cpu,cpuacct:/docker/abc/inner\n",
        DOCKER_V1,
        {f"{S}/cpu,cpuacct/cpu.cfs_quota_us": "50000", f"{S}/cpu,cpuacct/cpu.cfs_period_us": "100000"},
        0.5,
    ),
    "mounted elsewhere": (
        "4:cpu:/job\n",
        ODD,
        {"/cgroups here/cpu/job/cpu.cfs_quota_us": "700000", "/cgroups here/cpu/job/cpu.cfs_period_us": "100000"},
        7.0,
    ),
    "both versions": (
        "4:cpu,cpuacct:/job\n0::/job\n",
        V1 + V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified "),
        {
            f"{S}/cpu,cpuacct/job/cpu.cfs_quota_us": "600000",
            f"{S}/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            f"{S}/unified/job/cpu.max": "500000 100000",
        },
        5.0,
    ),
    "no word of mounts": ("0::/job\n", "", {f"{S}/job/cpu.max": "400000 100000"}, 4.0),
    "nonsense": ("nonsense\n0::\n", "x - \n - cgroup2\n", {f"{S}/cpu.max": "nonsense"}, None),
}


@pytest.mark.parametrize(("cgroup", "mountinfo", "files", "quota"), CASES.values(), ids=CASES)
def test_the_narrowest_quota_of_all_groups_counts(tmp_path, cgroup, mountinfo, files, quota):
    assert allowance(machine(tmp_path, cgroup, mountinfo, **files)).quota == quota


def test_the_narrowest_limit_on_memory_counts(tmp_path):
    limits = {f"{S}/memory/job/memory.limit_in_bytes": NONE_V1, f"{S}/memory/memory.limit_in_bytes": str(3 * 2**20)}
    first = machine(tmp_path / "1", "9:memory:/job\n", V1, **limits)
    assert allowance(first).memory_bytes == 3 * 2**20
    limits = {f"{S}/job/memory.max": "max", f"{S}/job/memory.high": str(2 * 2**20), f"{S}/memory.max": "max"}
    assert allowance(machine(tmp_path / "2", "0::/job\n", V2, **limits)).memory_bytes == 2 * 2**20
    without = allowance(machine(tmp_path / "3", "", ""))
    assert without.quota is None and (without.memory_bytes or 0) > 2**20


@pytest.mark.parametrize(
    ("given", "trainers", "word"),
    [
        (Allowance(128, 128, None, None), 128, "128 CPUs"),
        (Allowance(128, 4, None, None), 4, "4 of 128"),
        (Allowance(128, 128, 6.9, None), 6, "6.9 of 128"),
        (Allowance(128, 4, 2.5, None), 2, "2.5 of 128"),
        (Allowance(128, 128, 0.5, None), 1, "0.5 of 128"),
        (Allowance(128, 64, 32.0, REST_BYTES + 3 * TRAINER_BYTES), 3, "2.5 GiB"),
        (Allowance(8, 8, None, 2**20), 1, "GiB"),
        (Allowance(1, 1, None, 2**40), 1, "1 CPUs"),
    ],
)
def test_there_is_a_trainer_for_each_whole_cpu_that_may_be_used_and_has_memory(given, trainers, word):
    assert given.trainers == trainers
    assert word in given.why


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_process_that_is_bound_to_one_cpu_starts_one_trainer():
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    code += "from service.allowance import allowance; print(allowance().affinity, allowance().trainers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]
