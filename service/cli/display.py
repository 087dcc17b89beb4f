"""How the command line shows things: tables that fit 80 columns, numbers, verdicts, errors."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import BaseModel
from rich.console import Console, JustifyMethod
from rich.text import Text

from service.cli.plain_tables import PlainTable
from service.cli.wording import for_a_shell
from service.client.transport import ClientError
from service.grid.axes import is_path
from service.questions.number_format import number
from service.schemas.experiments import ExperimentBody, Extended, Preview
from service.schemas.results import VerdictBody
from service.states import TrialState

# names and errors are text: what stands in brackets there is no style
out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)

_STATE_STYLES = {
    "completed": "green",
    "running": "cyan",
    "queued": "default",
    "paused": "yellow",
    "diverged": "yellow",
    "failed": "red",
    "cancelled": "dim",
}
_MOST_ERRORS = 10

Columns = dict[str, JustifyMethod]
"""Title of a column -> its justification."""


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """What JSON can hold: models and tables become mappings and lists."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, pl.DataFrame):
        return value.to_dicts()
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def state(name: str) -> Text:
    """A state in its colour."""
    return Text(str(name), style=_STATE_STYLES.get(str(name), "default"))


def counts(one: ExperimentBody) -> str:
    """Trials by state, without the states that none is in."""
    found = [f"{number} {name.value}" for name, number in one.counts.items() if number]
    return ", ".join(found) or "no trials"


def experiments_table(experiments: Sequence[ExperimentBody]) -> PlainTable:
    """One line per experiment."""
    rows = [
        (
            one.id,
            Text(one.name, overflow="ellipsis", no_wrap=True),
            state(one.state.value),
            f"{sum(one.counts.values()) - one.counts.get(TrialState.QUEUED, 0) - one.counts.get(TrialState.RUNNING, 0)}"
            f"/{sum(one.counts.values())}",
            f"{one.created_at:%Y-%m-%d %H:%M}",
        )
        for one in experiments
    ]
    return PlainTable({"id": "left", "name": "left", "state": "left", "trials": "right", "created (UTC)": "left"}, rows)


def verdicts_table(verdicts: Sequence[VerdictBody]) -> PlainTable:
    """One line per claim: whether it holds, and the value that decides."""
    rows = []
    for one in verdicts:
        mark = {True: Text("holds", "green"), False: Text("fails", "bold red"), None: Text("open", "yellow")}[one.holds]
        left_out = sum(one.left_out.values())
        judged = f"{one.trials}" + (f" (-{left_out})" if left_out else "")
        group = ", ".join(f"{path} = {number(value)}" for path, value in (one.worst_group or {}).items())
        worst = f"{number(one.worst)} ({group})" if group else number(one.worst)
        rows.append((mark, f"{one.id}: {one.says}" if one.says else one.id, worst, one.threshold, judged))
    return PlainTable({"": "left", "claim": "left", "worst": "right", "threshold": "left", "trials": "right"}, rows)


def results_table(results: pl.DataFrame, hidden: Sequence[str] = ()) -> PlainTable:
    """A group-by table under short titles; hidden columns stay out."""
    kept = [name for name in results.columns if name not in hidden]
    if "incomplete" in kept and not results["incomplete"].sum():
        kept.remove("incomplete")
    rows = [[number(value) for value in row] for row in results.select(kept).iter_rows()]
    return PlainTable(dict.fromkeys(_short(kept), "right"), rows)


def _short(names: Sequence[str]) -> list[str]:
    """The last part of every path, unless two would read the same; a point in alignment@0.3_mean parts nothing."""
    last = [(name.rpartition(".")[2] if is_path(name) else name).replace("_", " ") for name in names]
    return [short if last.count(short) == 1 else name for short, name in zip(last, names, strict=True)]


def print_lengths(found: Preview | Extended) -> None:
    """Say which new trials go on from where shorter ones end, and why others do not."""
    if found.continued:
        out.print(f"{found.continued} go on from where shorter trials end")
    for why, count in found.from_zero.items():
        out.print(f"{count} longer ones train from zero: {why}", markup=False)


def print_error(message: str) -> None:
    """One line on standard error."""
    err.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def print_warning(message: str | None) -> None:
    """One line on standard error, if there is one to say."""
    if message is not None:
        err.print(Text.assemble(("warning: ", "bold yellow"), message), soft_wrap=True)


def print_problem(error: ClientError) -> None:
    """What the service refused: one line, or one for every wrong field where there are several."""
    if len(error.errors) <= 1:
        print_error(for_a_shell(str(error)))
        return
    print_error(f"{error.problem.get('title', 'The request was refused')}:")
    for entry in error.errors[:_MOST_ERRORS]:
        place = f"{entry['path']}: " if entry.get("path") else ""
        err.print(Text(f"  {place}{for_a_shell(entry.get('message', ''))}"), soft_wrap=True)
    if len(error.errors) > _MOST_ERRORS:
        err.print(Text(f"  and {len(error.errors) - _MOST_ERRORS} more"))
