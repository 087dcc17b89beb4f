"""Where a SQLite store lies: shared file systems are named, what cannot hold a log is refused, one machine owns it."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from nfa_command import nfa
from reports import lease
from sqlalchemy import update

from service.errors import StoreUnusable
from service.store import cluster, file_systems, leases, session, submissions
from service.store.file_systems import mount_of
from service.store.models import dispatcher
from service.store.session import Store, open_store, utc_now

MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
nas:/export/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/anna/local\\040disk xfs rw 0 0
systemd-1 /data autofs rw 0 0
10.0.0.1@tcp:/scratch /data lustre rw,flock 0 0
//nas/share /mnt/share cifs rw 0 0
anna@host: /mnt/ssh fuse.sshfs rw 0 0
/dev/sdc1 /mnt/usb fuse.ntfs-3g rw 0 0
disks /mnt/pool fuse.mergerfs rw 0 0
/dev/sde1 /mnt/over nfs rw 0 0
/dev/sdd1 /mnt/over btrfs rw 0 0
malformed
"""
PLACES = {
    "/home/anna/.nfa/nfa.db": "nfs4",
    "/home": "nfs4",
    "/data/nfa.db": "lustre",
    "/mnt/share/nfa.db": "cifs",
    "/mnt/ssh/nfa.db": "fuse.sshfs",
    "/home/anna/local disk/nfa.db": None,
    "/homes/nfa.db": None,
    "/nfa.db": None,
    "/mnt/usb/nfa.db": None,
    "/mnt/pool/nfa.db": None,
    "/mnt/over/nfa.db": None,
}
SHARED = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "fuse.ceph-fuse",
    "fuse.glusterfs",
)
SHARED += ("9p", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "afs", "virtiofs", "NFS", "vboxsf", "fuse.juicefs", "wekafs")


@pytest.mark.parametrize(("path", "kind"), PLACES.items())
def test_the_innermost_and_last_mount_says_whether_others_share_a_file(path, kind):
    found = mount_of(Path(path), MOUNTS)
    assert found is not None
    assert found.is_shared == (kind is not None)
    assert kind is None or found.kind == kind


@pytest.mark.parametrize("kind", SHARED)
def test_file_systems_that_other_machines_share_are_known(kind):
    found = mount_of(Path("/store/nfa.db"), f"/dev/sda1 / ext4 rw 0 0\nsource /store {kind} rw 0 0\n")
    assert found is not None and found.is_shared


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "fuseblk", "fuse.gocryptfs"]
)
def test_local_disks_are_not_taken_for_shared_ones(kind):
    found = mount_of(Path("/nfa.db"), f"/dev/sda1 / {kind} rw 0 0\n")
    assert found is not None and not found.is_shared
    assert mount_of(Path("/nfa.db"), "") is None


@pytest.fixture
def on_nfs(monkeypatch, tmp_path):
    """A home that /proc/mounts says to lie on NFS."""
    mount = file_systems.Mount("nfs4", str(tmp_path), "nas:/home")
    monkeypatch.setattr(file_systems, "shared_mount", lambda path: mount if path.is_relative_to(tmp_path) else None)
    return tmp_path


def test_a_store_on_a_shared_file_system_warns_with_the_next_step(on_nfs):
    with Store(f"sqlite:///{on_nfs / 'nfa.db'}") as store:
        said = store.warning
    assert said is not None and "nfs4" in said and "nas:/home" in said
    assert "local disk" in said and "PostgreSQL" in said and "\n" not in said


def test_the_warning_is_shown_by_doctor_and_at_the_start(on_nfs, capsys):
    from service.cli import display, doctor, preflight

    url = f"sqlite:///{on_nfs / 'nfa.db'}"
    display.print_warning(preflight.upgrade_store(url, "127.0.0.1"))
    assert "warning: " in capsys.readouterr().err
    found = [one for one in doctor._database(on_nfs) if one.ok is False]
    assert [one.subject for one in found] == ["file system"] and "local disk" in found[0].words


def test_a_store_that_cannot_keep_a_log_is_refused_in_one_line(tmp_path):
    # this way of locking has no shared memory, as some network file systems have none
    file = tmp_path / "nfa.db"
    with Store(f"sqlite:///file:{file}?vfs=unix-dotfile&uri=true") as store:
        for transaction in (store.write, store.read):
            with pytest.raises(StoreUnusable, match="local disk") as caught, transaction():
                pass
            assert "'wal'" in caught.value.detail and "\n" not in caught.value.detail


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path):
    file = tmp_path / "nfa.db"
    file.write_text("this is a diary\n" * 1000)
    with open_store(f"sqlite:///{file}") as store, pytest.raises(StoreUnusable, match="not a database"), store.write():
        pass


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_store_from_which_another_machine_dispatches_is_refused(store, expansion, monkeypatch):
    submissions.create_experiment(store, expansion)
    monkeypatch.setattr(session, "_boot_id", lambda: "theirs")
    cluster.register_dispatcher(store, "theirs", "node7", 42, 1, {})
    lease(store, owner="theirs")
    monkeypatch.setattr(session, "_boot_id", lambda: "ours")
    for refused in (
        lambda: cluster.register_dispatcher(store, "ours", "node8", 43, 1, {}),
        lambda: cluster.refuse_two_machines(store),
    ):
        with pytest.raises(StoreUnusable, match=r"node7.*process 42.*PostgreSQL"):
            refused()
    # a beat keeps saying whose it is
    cluster.beat(store, "theirs", 1, {"counters": {}})
    with pytest.raises(StoreUnusable):
        cluster.refuse_two_machines(store)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_machine_that_was_not_heard_of_for_long_holds_nothing(store, expansion, monkeypatch):
    submissions.create_experiment(store, expansion)
    monkeypatch.setattr(session, "_boot_id", lambda: "before the restart")
    cluster.register_dispatcher(store, "theirs", "here", 42, 1, {})
    leased = len(lease(store, owner="theirs"))
    with store.write() as connection:
        connection.execute(update(dispatcher).values(seen_at=utc_now() - timedelta(seconds=cluster.ALIVE_SECONDS + 1)))
    monkeypatch.setattr(session, "_boot_id", lambda: "after it")
    cluster.register_dispatcher(store, "ours", "here", 43, 1, {})
    assert leases.sweep(store) == leased


def test_dispatchers_of_one_machine_share_its_store(store, expansion):
    submissions.create_experiment(store, expansion)
    for name in ("d1", "d2"):
        cluster.register_dispatcher(store, name, name, 1, 1, {})
        lease(store, owner=name)
    assert len(cluster.list_dispatchers(store)) == 2


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_doctor_and_dispatchers_say_that_another_machine_is_at_work(store, store_url, tmp_path, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(session, "_boot_id", lambda: "theirs")
        cluster.register_dispatcher(store, "theirs", "node7", 42, 1, {})
    examined = nfa("doctor", "--json", environment={"NFA_DATABASE_URL": store_url, "NFA_HOME": str(tmp_path)})
    found = {one["subject"]: one for one in json.loads(examined.stdout) if not one["ok"]}
    assert "node7" in found["database"]["words"]
