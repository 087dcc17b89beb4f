"""What deleting an experiment of ten million measured rows costs PostgreSQL, and what it leaves behind.

    python benchmarks/erasing.py [--rows 10000000] [--turns 2] [--shared]

Trials with rows of one network and two layers each step, made up in the database. The experiment is marked as deleted
and erased as the API does it; then the tables are vacuumed, as autovacuum does, and the same rows are written again.
Seconds of the database are its processor time, which other processes on the machine do not change. So large an
experiment has tables of its own, of which nothing is left to be vacuumed. With --shared its rows lie among those of
others, as those of smaller experiments do, and are deleted one by one.
"""

import argparse
import contextlib
import os
import time
from typing import Final

import psutil
import synthetic
from many_trainers import postgresql
from sqlalchemy import Connection, text
from timing import machine

from service.grid.expansion import expand
from service.grid.fitting import Limits
from service.store import control, deletions, submissions
from service.store.session import Store

GOAL: Final = 5.0
_TRIALS: Final = 10_000
_TABLES: Final = ("measurement", "layer_measurement")
_LAYERS: Final = [name for name in synthetic.LAYER if name != "best_exponent_kind"]


def write(connection: Connection, steps: int) -> None:
    """Rows of every trial there is."""
    connection.exec_driver_sql("SET LOCAL statement_timeout = '10min'")
    drawn = {"network": synthetic.NETWORK, "layers": _LAYERS}
    names = {key: ", ".join(columns) for key, columns in drawn.items()}
    random = {key: ", ".join(["random()"] * len(columns)) for key, columns in drawn.items()}
    each = f"trial CROSS JOIN generate_series(0, {steps - 1}) step"
    connection.execute(
        text(
            f"INSERT INTO measurement (trial_id, step, time, {names['network']}) "
            f"SELECT id, step, 0, {random['network']} FROM {each}"
        )
    )
    connection.execute(
        text(
            f"INSERT INTO layer_measurement (trial_id, step, layer, {names['layers']}) "
            f"SELECT id, step, layer, {random['layers']} FROM {each} CROSS JOIN generate_series(1, 2) layer"
        )
    )


def size(store: Store) -> float:
    """MiB of the tables of measurements with their indexes."""
    with store.read() as connection:
        query = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('{}')"
        return sum(int(connection.scalar(text(query.format(table))) or 0) for table in _TABLES) / 2**20


def spent(server: psutil.Process) -> float:
    """Processor seconds of PostgreSQL: of its processes that live, and of those that have ended."""
    while True:
        # what ended meanwhile is the postmaster's now, and is looked for there again
        with contextlib.suppress(psutil.NoSuchProcess):
            before = _ended(server)
            each = [process.cpu_times() for process in (server, *server.children(recursive=True))]
            if before == _ended(server):
                return before + sum(one.user + one.system for one in each)


def _ended(server: psutil.Process) -> float:
    """Processor seconds of its processes that have ended."""
    own = server.cpu_times()
    return own.children_user + own.children_system


def main() -> None:
    """Print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--shared", action="store_true", help="its rows lie among those of other experiments")
    chosen = parser.parse_args()
    steps = chosen.rows // (3 * _TRIALS)
    print(machine())
    with postgresql() as (store, server):
        for turn in range(1, chosen.turns + 1):
            once(store, server, steps, turn, is_shared=chosen.shared)


def once(store: Store, server: psutil.Process, steps: int, turn: int, *, is_shared: bool) -> None:
    """Write an experiment, delete it and vacuum."""
    made = submissions.create_experiment(store, expand(synthetic.grid(_TRIALS, 2 if is_shared else steps), Limits())).id
    with store.write() as connection:
        write(connection, steps)
    # as autovacuum has done with what was measured a while ago; a table that it is at is emptied later
    store.outside_transactions("VACUUM ANALYZE")
    full = size(store)
    print(f"\n{turn}: {3 * _TRIALS * steps:,} rows of {_TRIALS:,} trials; load {os.getloadavg()[0]:.1f}")
    control.delete_experiment(store, made)
    before, began = spent(server), time.perf_counter()
    deletions.erase_deleted(store)
    took, wall = spent(server) - before, time.perf_counter() - began
    goal = f"goal < {GOAL:g}{'' if took < GOAL else ', MISSED'}"
    print(f"  deleted   {took:6.2f} s of the database ({goal}), {wall:.1f} s by the clock")
    deleted, before = size(store), spent(server)
    for table in _TABLES:
        store.outside_transactions(f"VACUUM {table}")
    print(f"  vacuumed  {spent(server) - before:6.2f} s of the database")
    print(f"  tables    {full:,.0f} MiB full, {deleted:,.0f} deleted, {size(store):,.0f} vacuumed", flush=True)


if __name__ == "__main__":
    main()
