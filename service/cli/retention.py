"""`nfa gc`: deletes what nobody needs any more. Works on the database itself."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from service.cli.database import DatabaseUrl, opened
from service.cli.display import out, print_json
from service.cli.exits import Exit, Stop
from service.cli.options import AsJson, Home
from service.cli.plain_tables import PlainTable
from service.errors import ServiceError
from service.store import retention
from service.tokens import lifetime


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    keys_older: Annotated[str, typer.Option(help="Idempotency keys of this age go: 12h, 7d, 4w.")] = "7d",
    vacuum: Annotated[bool, typer.Option(help="Give the room back afterwards.")] = True,
    full: Annotated[bool, typer.Option("--full", help="PostgreSQL: rewrite the tables; everything waits.")] = False,
    home: Home = Path(".nfa"),
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Delete trials of no experiment, old checkpoints, expired keys, forgotten data and dead dispatchers."""
    try:
        kept = lifetime(keys_older)
    except (ValueError, OverflowError) as error:
        raise Stop(f"--keys-older {keys_older}: {error}", Exit.USAGE) from error
    try:
        with opened(home, database_url) as store:
            before = retention.size_on_disk(store)
            found = retention.collect(store, dry_run=dry_run, keys_kept=kept)
            if vacuum and not dry_run:
                retention.vacuum(store, full=full)
            after = retention.size_on_disk(store)
    except ServiceError as error:
        raise Stop(error.detail, Exit.REFUSED) from error
    if as_json:
        print_json(
            {"dry_run": dry_run, "items": [asdict(one) for one in found], "bytes_before": before, "bytes_after": after}
        )
        return
    rows = [[one.what, f"{one.rows:,}", f"{one.bytes:,}"] for one in found]
    out.print(PlainTable({"would go" if dry_run else "deleted": "left", "rows": "right", "bytes": "right"}, rows))
    out.print(f"on disk: {before:,} bytes" + ("" if dry_run else f" before, {after:,} after"))
