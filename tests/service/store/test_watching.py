"""Waiting until somebody else has written to the store."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from service.grid.expansion import expand
from service.store import submissions
from service.store.session import Store, open_store
from service.store.watching import Watch

LONG = 60.0


def test_what_another_process_submits_ends_the_wait(store: Store, store_url: str, tiny_grid: Callable[..., Any]):
    watch, seconds = Watch(store), LONG if store.dialect == "sqlite" else 0.2
    with open_store(store_url) as other, ThreadPoolExecutor(1) as threads:
        watch.wait(0.0, threading.Event())
        started = time.monotonic()
        waiting = threads.submit(watch.wait, seconds, threading.Event())
        submissions.create_experiment(other, expand(tiny_grid()))
        waiting.result()
        assert time.monotonic() - started < LONG / 2
    watch.close()


def test_what_was_written_before_the_wait_ends_it_once(store: Store, store_url: str, tiny_grid: Callable[..., Any]):
    watch = Watch(store)
    with open_store(store_url) as other:
        submissions.create_experiment(other, expand(tiny_grid()))
    started = time.monotonic()
    watch.wait(LONG if store.dialect == "sqlite" else 0.1, threading.Event())
    assert time.monotonic() - started < LONG / 2
    started = time.monotonic()
    watch.wait(0.2, threading.Event())
    assert time.monotonic() - started >= 0.2
    watch.close()


def test_who_is_told_to_stop_waits_no_longer(store: Store):
    watch, stop = Watch(store), threading.Event()
    stop.set()
    started = time.monotonic()
    watch.wait(LONG, stop)
    assert time.monotonic() - started < LONG / 2
    watch.close()


def test_without_a_file_to_look_at_it_waits_as_long_as_it_is_told_to(store: Store):
    watch = Watch(store)
    watch.close()
    started = time.monotonic()
    watch.wait(0.1, threading.Event())
    assert time.monotonic() - started >= 0.1
