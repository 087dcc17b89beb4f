"""A million trials in the PostgreSQL of the wheel: looks, questions, submitting and deleting, over HTTP.

    python benchmarks/store.py --million      (or this file alone; --url of a store that an earlier run has filled)

The trials' rows are made up and copied straight into their tables, with final values and one measured step at two
layers each; nine of ten are completed, the others wait. Submitting and deleting go through the API.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx
import synthetic
from serving import MANY, ask, database, p95, peak_bytes, reset_peak, resident_bytes, serving, show
from sqlalchemy import text

from service.grid.expansion import expand
from service.store import partitions, submissions, tallies
from service.store.session import open_store

TRIALS: Final = 1_000_000
_POINTS: Final = 100
_FILL: Final = (
    "INSERT INTO trial (id, fingerprint, settings_id, seed, stack_key, device, state, attempt, queued_for, priority, "
    "last_step, provenance, created_at, started_at, ended_at) "
    "SELECT :first + n, 'made-up-' || n, point.id, n / :points, point.stack_key, 'auto', "
    "CASE WHEN n % 10 = 0 THEN 'queued' ELSE 'completed' END, CASE WHEN n % 10 = 0 THEN 0 ELSE 1 END, "
    "CASE WHEN n % 10 = 0 THEN CAST(:number AS bigint) END, 0, CASE WHEN n % 10 > 0 THEN 0 END, "
    "CASE WHEN n % 10 > 0 THEN CAST(:told AS jsonb) END, now(), "
    "CASE WHEN n % 10 > 0 THEN now() - interval '2 hours' END, CASE WHEN n % 10 > 0 THEN now() - interval '1 hour' END "
    "FROM generate_series(0, :most - 1) n JOIN (SELECT id, stack_key, row_number() OVER (ORDER BY id) - 1 AS place "
    "FROM settings) point ON point.place = n % :points",
    "INSERT INTO experiment_trial (experiment_id, position, trial_id, wanted) "
    "SELECT :number, n, :first + n, true FROM generate_series(0, :most - 1) n",
    "INSERT INTO final (trial_id, layer, {network}, {layers}) SELECT id, 1, {random} FROM trial "
    "WHERE id >= :first AND state = 'completed'",
    "INSERT INTO measurement (trial_id, step, time, {network}) SELECT id, 0, 0.0, {of_network} FROM trial "
    "WHERE id >= :first AND state = 'completed'",
    "INSERT INTO layer_measurement (trial_id, step, layer, {layers}) SELECT id, 0, layer, {of_layers} FROM trial, "
    "generate_series(1, 2) layer WHERE id >= :first AND state = 'completed'",
    "SELECT setval(pg_get_serial_sequence('trial', 'id'), :first + :most)",
    "UPDATE experiment SET trials = :most WHERE id = :number",
)
_LAYERS: Final = [name for name in synthetic.LAYER if name != "best_exponent_kind"]


def fill(url: str) -> str:
    """Make the million; answers its experiment's id."""
    told = {
        "network": ", ".join(synthetic.NETWORK),
        "layers": ", ".join(_LAYERS),
        "of_network": _drawn(len(synthetic.NETWORK)),
        "of_layers": _drawn(len(_LAYERS)),
        "random": _drawn(len(synthetic.NETWORK) + len(_LAYERS)),
    }
    began = time.perf_counter()
    with open_store(url) as store:
        made = submissions.create_experiment(store, expand(synthetic.grid(_POINTS, 1), MANY))
        number = int(made.id.removeprefix("e"))
        values = {"first": 1_000, "number": number, "most": TRIALS, "points": _POINTS, "told": '{"node": "here"}'}
        with store.write() as connection:
            connection.exec_driver_sql(
                "SET LOCAL statement_timeout = '10min'; SET LOCAL session_replication_role = replica"
            )
            connection.exec_driver_sql("DELETE FROM experiment_trial; DELETE FROM trial")
            partitions.cover(connection, range(values["first"], values["first"] + TRIALS + 1, 1_000))
            for statement in _FILL:
                connection.execute(text(statement.format(**told)), values)
        with tallies.repairing(store) as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = '10min'")
            tallies.repair(connection)
        store.outside_transactions("VACUUM ANALYZE")
    show("filling the tables", time.perf_counter() - began, "s", None)
    return made.id


def _drawn(columns: int) -> str:
    return ", ".join(["random()"] * columns)


def looks(client: httpx.Client, path: str) -> None:
    """What is looked at often, by many."""
    root = str(client.base_url).removesuffix("/api/v1/")
    for name, address in {
        "/metrics": f"{root}/metrics",
        "/cluster": "/cluster",
        "/cluster/activity": "/cluster/activity",
        "list of experiments": "/experiments",
        "experiment": path,
    }.items():
        show(f"{name}, p95", p95(lambda a=address: ask(client, a, {}), 20) * 1e3, "ms", -15)
    show("one event, p95", p95(lambda: _first_event(client, path), 20) * 1e3, "ms", -15)


def _first_event(client: httpx.Client, path: str) -> None:
    with client.stream("GET", f"{path}/events") as answer:
        next(line for line in answer.iter_lines() if line.startswith("event: progress"))


def questions(client: httpx.Client, path: str) -> None:
    """Pages and tables."""
    for name, (params, goal) in {
        "list page": ({}, -15),
        "page far back": ({"limit": 100, "sort": "seed"}, None),
        "filtered page": ({"where": "training.weight_decay >= 0.05 and final.alignment > 0.5"}, -100),
        "selective page": ({"where": "final.alignment > 0.99999"}, -100),
        "page in one of 100 points": (
            {"where": "training.weight_decay == 0.09 and training.learning_rate == 0.1"},
            -100,
        ),
        "page of those that wait": ({"state": "queued"}, -100),
        "page of those that failed": ({"state": "failed"}, -100),
        "sorted page": ({"sort": "-final.alignment"}, None),
    }.items():
        show(f"{name}, p95", p95(lambda p=params: ask(client, f"{path}/trials", p), 20) * 1e3, "ms", goal)
    show("results by two axes", p95(lambda: ask(client, f"{path}/results", {}), 2), "s", -2)
    four = {"metric": "alignment,residual,train_loss,test_loss", "agg": "mean,std,median"}
    show("four metrics, median too", p95(lambda: ask(client, f"{path}/results", four), 1), "s", None)


def submitted(client: httpx.Client, pid: int, trials: int, goal: float) -> None:
    """So many new trials in one POST."""
    document = synthetic.grid(trials, 1)
    document["trial"]["training"]["steps"] = trials
    before = resident_bytes(pid)
    reset_peak(pid)
    began = time.perf_counter()
    answer = client.post("/experiments", json=document).raise_for_status().json()
    seconds = time.perf_counter() - began
    grown = (peak_bytes(pid) - before) / 2**20
    more = f"{answer['trials']['new']} new, server grew by {grown:.0f} MiB{'' if grown < 300 else ' (goal < 300)'}"
    show(f"submit {trials:,} trials", seconds, "s", -goal, more=more)


def deleted(client: httpx.Client, path: str) -> None:
    """Until it is answered that the million is gone."""
    began = time.perf_counter()
    client.delete(path).raise_for_status()
    show("delete, answered", time.perf_counter() - began, "s", -0.2)


def million(url: str, experiment: str | None = None, *, keep: bool = False) -> None:
    """Print it all, with the goals."""
    print(f"\npostgresql: {TRIALS:,} trials of one step; load {os.getloadavg()[0]:.1f}")
    path = f"/experiments/{experiment or fill(url)}"
    with serving(url) as (client, pid):
        looks(client, path)
        questions(client, path)
        if not keep:
            submitted(client, pid, 100_000, 5)
            submitted(client, pid, TRIALS, 60)
            deleted(client, path)


def main() -> None:
    """Alone, on a store of its own or on one that was filled before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a store whose experiment e1 is the million; it is kept, and nothing submitted")
    chosen = parser.parse_args()
    if chosen.url:
        million(chosen.url, "e1", keep=True)
        return
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder,
        database("postgresql", Path(folder), None) as url,
    ):
        million(url)


if __name__ == "__main__":
    main()
