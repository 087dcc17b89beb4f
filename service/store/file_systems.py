"""Which kind of file system a file lies on: on one that other machines share, SQLite's locks do not hold."""

import contextlib
import re
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

_SHARED: Final = frozenset(
    [
        "9p",
        "acfs",
        "afs",
        "afpfs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "cvfs",
        "davfs",
        "drvfs",
        "fhgfs",
        "gfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "mfs",
        "mmfs",
        "ncp",
        "ncpfs",
        "nfs",
        "nfs3",
        "nfs4",
        "nfsd",
        "ocfs2",
        "orangefs",
        "panfs",
        "prl_fs",
        "pvfs2",
        "quobyte",
        "shfs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "smb_fs",
        "snfs",
        "virtiofs",
        "vboxsf",
        "vmhgfs",
        "wekafs",
        "webdav",
    ]
)
_LOCAL_FUSE: Final = frozenset(
    [
        "bindfs",
        "encfs",
        "exfat",
        "ext2",
        "fuse-overlayfs",
        "gocryptfs",
        "lxcfs",
        "mergerfs",
        "ntfs",
        "ntfs-3g",
        "overlayfs",
        "portal",
        "snapfuse",
        "squashfuse",
        "unionfs",
        "zfs",
    ]
)
"""What runs in user space and still lies on this machine's disks."""
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """A file system in its place."""

    kind: str
    """As the kernel names it: ext4, nfs4, fuse.sshfs."""
    place: str
    source: str

    @property
    def is_shared(self) -> bool:
        """Whether other machines may have it too."""
        kind = self.kind.lower()
        user_space = kind.removeprefix("fuse.")
        return kind in _SHARED or (kind.startswith("fuse.") and user_space not in _LOCAL_FUSE)


def mount_of(path: Path, mounts: str) -> Mount | None:
    """Where an absolute path without links lies. Pure.

    Args:
        mounts: text of /proc/mounts: a line for each mount, later ones over earlier ones; see proc(5).
    """
    found: Mount | None = None
    for line in mounts.splitlines():
        fields = [_ESCAPED.sub(lambda match: chr(int(match[1], 8)), field) for field in line.split()]
        if len(fields) < 3 or not PurePosixPath(path).is_relative_to(fields[1]):
            continue
        if found is None or len(PurePosixPath(fields[1]).parts) >= len(PurePosixPath(found.place).parts):
            found = Mount(fields[2], fields[1], fields[0])
    return found


def shared_mount(path: Path) -> Mount | None:
    """The mount that a path, or the folder that it will be made in, lies on, where other machines may have it too."""
    with contextlib.suppress(OSError):
        found = mount_of(path.resolve(), Path("/proc/mounts").read_text())
        return found if found is not None and found.is_shared else None
    return None


def warning(path: Path) -> str | None:
    """What to tell whoever keeps a SQLite file there; None where nothing is wrong."""
    found = shared_mount(path)
    if found is None:
        return None
    return (
        f"{path} lies on {found.kind} ({found.source}, at {found.place}), which other machines may share: SQLite's "
        "locks do not hold there, and a kill may damage the store. Choose a local disk with --home or NFA_HOME, or "
        "PostgreSQL with NFA_DATABASE_URL"
    )
