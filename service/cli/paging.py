"""Tables that sort by a column and, where they are longer than the terminal, page."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import polars as pl
from rich.console import Console, RenderableType

from service.cli.exits import Exit, Stop

Row = TypeVar("Row")


def sorted_by(rows: Sequence[Row], keys: Mapping[str, Any], sort: str | None) -> list[Row]:
    """Rows by a column, upwards, or downwards with a minus before its name; ties keep their order.

    Args:
        rows: what a table has lines for.
        keys: name of a column -> function of a row; None is last either way.
        sort: as it was typed; None leaves the order.
    """
    if sort is None:
        return list(rows)
    name, is_down = sort.removeprefix("-"), sort.startswith("-")
    if name not in keys:
        raise Stop(
            f"--sort {sort}: no such column; there are {', '.join(keys)} (-{next(iter(keys))}: down)", Exit.USAGE
        )
    key = keys[name]
    known = [row for row in rows if key(row) is not None]
    return sorted(known, key=key, reverse=is_down) + [row for row in rows if key(row) is None]


def sorted_table(found: pl.DataFrame, sort: str | None) -> pl.DataFrame:
    """A table by one of its columns, named in full or by the part behind its last dot; missing values are last."""
    if sort is None:
        return found
    name, is_down = sort.removeprefix("-"), sort.startswith("-")
    fitting = [column for column in found.columns if name in (column, column.rpartition(".")[2])]
    if name not in found.columns and len(fitting) != 1:
        raise Stop(f"--sort {sort}: no such column; there are {', '.join(found.columns)}", Exit.USAGE)
    chosen = name if name in found.columns else fitting[0]
    return found.sort(chosen, descending=is_down, nulls_last=True, maintain_order=True)


def show(console: Console, what: RenderableType) -> None:
    """Print; what is longer than the terminal goes through PAGER (default: less), as git does; PAGER= prints it all."""
    pager = pager_of(os.environ) if console.is_terminal else []
    if not pager:
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    text = captured.get()
    if text.count("\n") < console.height:
        console.file.write(text)
        return
    # F, R and X: end by itself where it fits, pass colours on, leave what was read on the screen
    subprocess.run(pager, input=text, text=True, check=False, env={"LESS": "FRX"} | os.environ)


def pager_of(environment: Mapping[str, str]) -> list[str]:
    """The command that pages; none where there is none, or none is wanted."""
    words = shlex.split(environment.get("PAGER", "less"))
    return words if words and words != ["cat"] and shutil.which(words[0]) else []
