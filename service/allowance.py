"""What this process may use of its machine: CPUs by affinity and control groups, memory by control groups.

A job that was given 4 of 128 cores sees all 128 in `os.cpu_count`, and so does Ray. Control groups limit every group by
itself and by all those above it, in version 1 by a folder for each controller, in version 2 by one for all.
Sources: cgroups(7); kernel documentation, "Control Group v2" (cpu.max, memory.max) and "CFS Bandwidth Control".
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

TRAINER_BYTES: Final = 512 * 2**20
"""Of memory for each trainer: torch takes half of it, a stack of small networks some of the rest."""
REST_BYTES: Final = 2**30
"""Of memory for everything else: the API, the dispatcher and Ray."""
_USUAL: Final = ("", "unified", "cpu", "cpu,cpuacct", "memory")


@dataclass(frozen=True)
class Allowance:
    """What there is and what of it may be used; None where nothing limits."""

    cpus: int
    """Of the machine."""
    affinity: int
    """CPUs that this process may run on."""
    quota: float | None
    """CPUs' worth of time that its control groups allow, also a fraction."""
    memory_bytes: int | None
    """Of the machine, or less where its control groups allow less."""

    @property
    def trainers(self) -> int:
        """One for each whole CPU that may be used and for which there is memory; at least one."""
        return max(1, min(self._limits().values()))

    @property
    def why(self) -> str:
        """What that number comes from, in words."""
        limits = self._limits()
        least = min(limits.values())
        return next(word for word, number in limits.items() if number == least)

    def _limits(self) -> dict[str, int]:
        """Words -> trainers, the plainest first."""
        found = {f"one for each of {self.cpus} CPUs": self.cpus}
        if self.affinity != self.cpus:
            found[f"this process may run on {self.affinity} of {self.cpus} CPUs"] = self.affinity
        if self.quota is not None:
            found[f"the control group allows {self.quota:.4g} of {self.cpus} CPUs"] = int(self.quota)
        if self.memory_bytes is not None:
            room = (self.memory_bytes - REST_BYTES) // TRAINER_BYTES
            found[f"{self.memory_bytes / 2**30:.3g} GiB of memory, {TRAINER_BYTES / 2**30:g} for each"] = room
        return found


def allowance(root: Path = Path("/")) -> Allowance:
    """What this process may use; `root` is where /proc and /sys are."""
    cpus = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cpus
    quotas = [quota for quota in (*_each(root, "cpu", _quota_v1), *_each(root, "cpu", _quota_v2)) if quota is not None]
    limits = [int(limit) for limit in (*_each(root, "memory", _memory_of), _ram()) if limit is not None]
    return Allowance(cpus, affinity, min(quotas, default=None), min(limits, default=None))


def _each(root: Path, controller: str, read: Callable[[Path], float | None]) -> Iterator[float | None]:
    """What `read` finds in every control group that this process is in, up to the outermost that can be seen."""
    for mount, path in _groups(root, controller):
        for part in (path, *path.parents):
            yield read(mount / str(part).lstrip("/"))


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, PurePosixPath]]:
    """Where a controller's groups are mounted, each with this process's path below it."""
    paths = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if path and (not names or controller in names.split(",")):
            paths["cgroup" if names else "cgroup2"] = PurePosixPath(path)
    mounts = list(_mounts(_text(root / "proc/self/mountinfo"), controller))
    # where nothing is said of mounts, or less than there is
    mounts += [
        (kind, PurePosixPath("/"), f"/sys/fs/cgroup/{name}") for name in _USUAL for kind in ("cgroup", "cgroup2")
    ]
    for kind, top, place in mounts:
        path = paths.get(kind, PurePosixPath("/"))
        # a container sees its own group as the top one, but is told its path outside
        below = path.relative_to(top) if path.is_relative_to(top) else path.relative_to("/")
        yield root / place.lstrip("/"), PurePosixPath("/") / below


def _mounts(mountinfo: str, controller: str) -> Iterator[tuple[str, PurePosixPath, str]]:
    """(kind, group that is mounted, where) of what /proc/self/mountinfo says of a controller; see proc(5)."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options, *_) = before.split(), [*after.split(), "", "", ""]
        if len(fields) > 4 and (kind == "cgroup2" or (kind == "cgroup" and controller in options.split(","))):
            yield kind, PurePosixPath(fields[3]), fields[4].replace("\\040", " ")


def _quota_v1(group: Path) -> float | None:
    return _ratio(_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us"))


def _quota_v2(group: Path) -> float | None:
    quota, _, period = _text(group / "cpu.max").strip().partition(" ")
    return _ratio(quota, period or "100000")


def _memory_of(group: Path) -> int | None:
    """The least of a group's limits in bytes, in either version."""
    files = ("memory.limit_in_bytes", "memory.max", "memory.high")
    found = [int(text) for name in files if (text := _text(group / name).strip()).isdecimal()]
    return min(found, default=None)


def _ratio(quota: str, period: str) -> float | None:
    """Microseconds of CPU time in a period; None for -1, max, and what is not there."""
    with contextlib.suppress(ValueError, ZeroDivisionError):
        found = int(quota) / int(period)
        return found if found > 0 else None
    return None


def _ram() -> int | None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _text(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text()
    return ""
