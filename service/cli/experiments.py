"""Commands about experiments: submit, list, show, watch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from service.cli.display import (
    counts,
    err,
    experiments_table,
    out,
    print_json,
    print_lengths,
    results_table,
    state,
    verdicts_table,
)
from service.cli.found import print_found_by
from service.cli.options import (
    DEFAULT_URL,
    AsJson,
    ExperimentId,
    GridFile,
    Token,
    Url,
    connect,
    newest,
    read_grid,
)
from service.cli.outcome import report
from service.cli.paging import show as show_paged
from service.cli.paging import sorted_by
from service.cli.panes import Panes
from service.cli.progress import ExperimentProgress, duration
from service.client import Client, Grid
from service.grid.axes import moving_together
from service.questions.number_format import counted, number
from service.questions.shown_first import shown_first
from service.questions.waiting import why_it_waits
from service.schemas.experiments import ExperimentBody, ExperimentDetail
from service.states import TrialState

_COLUMNS: Final[Mapping[str, Callable[[ExperimentBody], Any]]] = {
    "id": lambda one: int(one.id.removeprefix("e")),
    "name": lambda one: one.name.casefold(),
    "state": lambda one: one.state.value,
    "trials": lambda one: sum(one.counts.values()),
    "created": lambda one: one.created_at,
}
"""What `nfa list` sorts by."""


def submit(
    grid: GridFile,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what it would cost.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Wait for it and print results.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Submit a grid; trials that exist already are reused."""
    with connect(url, token) as client:
        submit_body(client, read_grid(grid), preview=preview, watch=watch, as_json=as_json)


def submit_body(client: Client, body: Grid, *, preview: bool, watch: bool, as_json: bool) -> None:
    """Submit or preview a grid that has been read."""
    if preview:
        _preview(client, body, as_json=as_json)
        return
    submitted = client.submit(body)
    if watch:
        follow(client, submitted.id, as_json=as_json)
    elif as_json:
        print_json(submitted)
    else:
        trials = submitted.trials
        out.print(f"{submitted.id}: {counted(trials.total, 'trial')}, {trials.new} new, {trials.reused} reused")
        out.print(f"Next: nfa watch {submitted.id}")


def _preview(client: Client, body: Grid, *, as_json: bool) -> None:
    found = client.preview(body)
    if as_json:
        print_json(found)
        return
    out.print(
        f"{counted(found.trials, 'trial')}: {found.new} new, {found.reused} reused; {counted(found.stacks, 'stack')}"
    )
    lasts = f"about {duration(found.estimated_seconds)} of training on the trainers there are"
    out.print(lasts if found.new else "nothing is to be trained")
    if found.search is not None:
        rounds = f", in at most {found.search.rounds} rounds more" if found.search.rounds else ""
        out.print(f"the first round; its searches may add to {found.search.at_most} trials{rounds}")
    for path, values in found.axes.items():
        out.print(f"  {path}: {', '.join(number(value) for value in values)}")
    print_lengths(found)
    for path, values in found.derived.items():
        out.print(f"  {path} follows: {', '.join(number(value) for value in values)}")
    for path in found.ignored:
        out.print(f"  not read: {path}")
    for one in found.networks:
        scaled = one.settings.get("parameterization", "standard")
        kind = one.kind if scaled == "standard" else f"{one.kind}, {scaled}"
        out.print(f"\n{kind}, {one.parameters:,} parameters: {_in_words(one.layers)}", markup=False)
        for layer in one.measured:
            times = f" at {layer.positions} positions" if layer.positions > 1 else ""
            role = f", {layer.role}" if layer.role else ""
            told = f"  layer {layer.number} {layer.name}: {layer.outputs} x {layer.inputs}{times}{role}"
            out.print(told, markup=False)


def _in_words(layers: Sequence[Any]) -> str:
    """Layers in forward order, as conv, relu, [norm, linear], linear; what is in brackets has a residual connection."""
    words = []
    for layer in layers:
        kind, given = next(iter(layer.items())) if isinstance(layer, Mapping) else (layer, None)
        words.append(f"[{_in_words(given)}]" if kind == "residual" and isinstance(given, list) else str(kind))
    return ", ".join(words)


def list_experiments(
    state: Annotated[str | None, typer.Option(help="queued, running, completed, failed, cancelled, paused.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 20,
    sort: Annotated[
        str | None,
        typer.Option(help="Of these by id, name, state, trials or created; -trials: downwards.", metavar="COLUMN"),
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List experiments, newest first."""
    with connect(url, token) as client:
        found = [one for one, _ in zip(client.experiments(state=state, tag=tag), range(limit), strict=False)]
    found = sorted_by(found, _COLUMNS, sort)
    if as_json:
        print_json(found)
    elif found:
        show_paged(out, experiments_table(found))
    else:
        out.print("No experiments. Submit one, for instance: nfa presets run weight-decay")


def show(experiment: ExperimentId = None, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Show an experiment: state, progress, results and verdicts."""
    with connect(url, token) as client:
        one = client.experiment(newest(client, experiment))
        verdicts = client.verdicts(one.id)
        if as_json:
            print_json({"experiment": one, "verdicts": verdicts})
            return
        _head(client, one)
        shown = shown_first(one.grid)
        results = client.results(one.id, metric=[shown.metric], layer=shown.layer, agg=["mean", "min", "max", "count"])
        out.print(f"\n{shown.says} at the end of training:\n")
        out.print(results_table(results, moving_together(one.grid)))
        if verdicts:
            out.print()
            out.print(verdicts_table(verdicts))
        print_found_by(client, one.id, one.grid)


def _head(client: Client, one: ExperimentDetail) -> None:
    out.print(Text(one.id, "bold"), f" {one.name}  ", state(one.state.value), f"  {one.progress:.0%}")
    out.print(f"created {one.created_at:%Y-%m-%d %H:%M} UTC; {counts(one)}; {one.steps.done:,} steps done")
    if one.tags:
        out.print(f"tags: {', '.join(one.tags)}")
    if one.progress < 1 and not one.counts.get(TrialState.RUNNING, 0):
        alive = [found.resources for found in client.cluster().dispatchers if found.alive]
        if why := why_it_waits(one.grid, alive):
            out.print(Text(why, "yellow"))


def watch(
    experiment: ExperimentId = None, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Follow an experiment until it has ended, then print results and verdicts. Exits 1 if a claim does not hold."""
    with connect(url, token) as client:
        follow(client, newest(client, experiment), as_json=as_json)


def follow(client: Client, experiment: str, *, as_json: bool) -> None:
    """Wait with a progress bar, report, and exit accordingly."""
    with ExperimentProgress(err, Panes(client).look) as progress:
        ended = client.wait(experiment, progress=progress.show)
    raise typer.Exit(report(client, ended, as_json=as_json))
