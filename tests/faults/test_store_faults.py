"""A store that is full, that hangs, or that everybody wants at once."""

import os
import resource
import signal
import threading
import time

import pytest
from comparison import LONG_GRID, assert_as_undisturbed
from processes import charged, rows, wait_for_end, wait_for_rows, wait_until
from scale import SECONDS
from sqlalchemy import text
from store_worker import start

from service.grid.expansion import expand
from service.store import experiments, submissions
from service.store.session import open_store
from workers.watchdog import EXIT_CODE

on_sqlite_alone = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
on_postgresql_alone = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


@on_sqlite_alone
def test_a_full_disk_stops_nothing_for_good_and_loses_nothing(store, dispatchers):
    submitted = submissions.create_experiment(store, expand(LONG_GRID)).id
    dispatcher = dispatchers.start()
    wait_for_rows(store)
    # its log fits into 64 KiB, the database does not: writes meet what they meet on a full disk, and it can be undone
    full = (64 * 1024, resource.RLIM_INFINITY)
    resource.prlimit(dispatcher.process.pid, resource.RLIMIT_FSIZE, full)
    wait_until(lambda: dispatcher.missed_the_store() > 4)
    before = rows(store)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(dispatcher.process.pid, resource.RLIMIT_FSIZE, unlimited)
    wait_for_end(store, submitted)
    assert dispatcher.process.poll() is None
    assert before < rows(store)
    assert_as_undisturbed(store, submitted)
    assert charged(store) == 0


@on_postgresql_alone
def test_a_database_that_accepts_requests_and_never_answers_does_not_hold_a_dispatcher_for_ever(
    store, dispatchers, expansion
):
    # long enough to join Ray
    dispatcher = dispatchers.start(NFA_STUCK_SECONDS="20")
    wait_until(lambda: dispatcher.events("dispatcher_started"))
    mine = "application_name = 'nfa' AND pid <> pg_backend_pid() AND datname = current_database()"
    with store.read() as connection:
        backends = list(connection.scalars(text(f"SELECT pid FROM pg_stat_activity WHERE {mine}")))
    assert backends
    for pid in backends:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert dispatcher.process.wait(120) == EXIT_CODE
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
    assert dispatcher.events()[-1]["event"] == "dispatcher_stuck"
    submitted = submissions.create_experiment(store, expansion).id
    dispatchers.start()
    wait_for_end(store, submitted)


@on_sqlite_alone
def test_sixteen_writers_and_four_readers_never_hear_that_sqlite_is_locked(store, store_url, tiny_grid, tmp_path):
    grid = tiny_grid(seeds=1000)
    grid["trial"]["measure"] = {"every": 1}
    name = submissions.create_experiment(store, expand(grid)).id
    # no lease runs out of a writer that waits for a lock
    writers = [start(store_url, 600.0, tmp_path / "said") for _ in range(16)]
    errors = list[str]()

    def read(until: float) -> None:
        with open_store(store_url) as own:
            reads = 0
            while time.monotonic() < until or reads <= 10:
                try:
                    experiments.get_experiment(own, name)
                    reads += 1
                except Exception as error:
                    errors.append(repr(error))
                    return

    try:
        wait_until(lambda: rows(store) > 100)
        before = rows(store)
        readers = [threading.Thread(target=read, args=(time.monotonic() + SECONDS,)) for _ in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        wait_until(lambda: rows(store) > before)
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    assert (errors, (tmp_path / "said").read_text(), [writer.exitcode for writer in writers]) == (
        [],
        "",
        [-signal.SIGKILL] * 16,
    )
