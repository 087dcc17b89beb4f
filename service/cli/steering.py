"""Commands that steer experiments: cancel, pause, resume, retry, extend, delete."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from service.cli.display import counts, out, print_json, print_lengths, print_warning
from service.cli.exits import Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, Token, Url, connect
from service.client import Client
from service.questions.number_format import counted
from service.schemas.experiments import ExperimentDetail
from service.states import ExperimentState

Id = Annotated[str, typer.Argument(metavar="ID", help="Experiment, as `nfa list` shows it.")]


def cancel(experiment: Id, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Stop an experiment's unfinished trials; what was measured is kept."""
    _steer(url, token, lambda client: client.cancel(experiment), as_json=as_json)


def pause(experiment: Id, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Start no more of an experiment's trials; running ones go back to the queue."""
    paused = _steer(url, token, lambda client: client.pause(experiment), as_json=as_json)
    if paused.state != ExperimentState.PAUSED:
        print_warning(f"{paused.id} has ended: nothing is left to pause")


def resume(experiment: Id, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Go on after a pause."""
    _steer(url, token, lambda client: client.resume(experiment), as_json=as_json)


def retry(
    experiment: Id,
    which: Annotated[Literal["failed", "diverged", "cancelled"], typer.Option(help="Which trials.")] = "failed",
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Run an experiment's failed, diverged or cancelled trials again."""
    _steer(url, token, lambda client: client.retry(experiment, which), as_json=as_json)


def extend(
    experiment: Id,
    axis: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH=VALUES", help="Further values, as training.weight_decay=0.3,0.4; may be repeated."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Further seeds: n for 0 .. n-1, or a list as 10,11.")] = "0",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train longer: so many steps, from where trials ended if they keep it.")
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="So many sampled points, more than it has.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Add axis values, seeds, sampled points or steps to an experiment; only what is new runs."""
    axes = dict(_read_axis(one) for one in axis or [])
    with connect(url, token) as client:
        submitted = client.extend(experiment, axes, _read_seeds(seeds), steps=steps, sample=sample)
    if as_json:
        print_json(submitted)
    else:
        trials = submitted.trials
        out.print(f"{submitted.id}: {counted(trials.total, 'trial')}, {trials.new} new, {trials.reused} kept")
        print_lengths(submitted)
        out.print(f"Next: nfa watch {submitted.id}")


def thin(
    experiment: Id,
    keep_every: Annotated[int, typer.Option(min=2, help="Of the measured steps; first and last stay.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Keep every n-th measured step of an experiment's ended trials; final values stay."""
    with connect(url, token) as client:
        one = client.experiment(experiment)
        if not yes and not typer.confirm(f"Keep only one measured step in {keep_every} of {one.id} {one.name!r}?"):
            raise Stop("nothing was deleted", Exit.NO)
        done = client.thin(experiment, keep_every)
    if as_json:
        print_json(done)
        return
    out.print(f"{one.id}: {done.rows} rows deleted, {done.thinned} trials have one step in {keep_every}")
    left = [f"{n} {why}" for n, why in ((done.unfinished, "unfinished"), (done.shared, "shared with others")) if n]
    left += [f"{done.unfit} thinned before to another number"] if done.unfit else []
    if left:
        out.print(f"left as they are: {', '.join(left)}")


def delete(
    experiment: Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Delete an experiment and every trial that no other experiment holds, with all that was measured."""
    with connect(url, token) as client:
        one = client.experiment(experiment)
        if not yes and not typer.confirm(f"Delete {one.id} {one.name!r} with {sum(one.counts.values())} trials?"):
            raise Stop("nothing was deleted", Exit.NO)
        client.delete(experiment)
    out.print(f"{one.id} is deleted")


def _steer(
    url: str, token: str | None, change: Callable[[Client], ExperimentDetail], *, as_json: bool
) -> ExperimentDetail:
    with connect(url, token) as client:
        one = change(client)
    if as_json:
        print_json(one)
    else:
        out.print(f"{one.id}: {one.state.value}; {counts(one)}")
    return one


def _read_axis(written: str) -> tuple[str, list[Any]]:
    """A path and values out of PATH=a,b,c; a value is JSON where it can be read as such, else a word."""
    path, equals, values = written.partition("=")
    if not equals or not values:
        raise Stop(f"--axis {written}: write a path and values, as training.weight_decay=0.3,0.4", Exit.USAGE)
    if values.startswith("["):
        return path, json.loads(values)
    return path, [_read_value(value.strip()) for value in values.split(",")]


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_seeds(text: str) -> int | list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise Stop(f"--seeds {text}: write a number n for 0 .. n-1, or seeds as 10,11", Exit.USAGE) from error
    return found if "," in text else found[0]
