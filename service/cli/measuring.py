"""`nfa measure`: new metrics on weights that were kept."""

import json
from typing import Annotated, Any

import typer

from service.cli.display import out, print_json, print_warning
from service.cli.exits import Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, Token, Url, connect
from service.schemas.experiments import RemeasurementBody

_WHY = {
    "without_weights": "keep no weights of these steps (list steps under measure.weights)",
    "without_layers": "have none of these layers",
    "without_inputs": "have data without such inputs",
    "unfinished": "have not completed or diverged",
    "already": "were measured so, or are about to be",
}


def measure(
    experiment: Annotated[str, typer.Argument(metavar="ID", help="Experiment, as `nfa list` shows it.")],
    metrics: Annotated[
        str, typer.Option("--metric", "-m", help="Ids, comma-separated, as pearson,gram_norm; or default, or all.")
    ] = "",
    layers: Annotated[str, typer.Option(help="first, all, or numbers and names; default: each trial's own.")] = "",
    exponents: Annotated[str, typer.Option(help="For alignment@a, as 0.25,0.5.")] = "",
    at: Annotated[str, typer.Option(help="Of the kept steps: all, final, or steps as 0,1000.")] = "all",
    inputs: Annotated[
        str, typer.Option(help="train, test, data-ID, or probes-COUNT-SEED-SCALE as probes-1000-0-1.")
    ] = "train",
    wait: Annotated[bool, typer.Option("--wait", help="Until all is measured.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Measure new metrics on the weights that an experiment's trials have kept, without training."""
    chosen = _names(metrics)
    with connect(url, token) as client:
        done = client.measure(
            experiment,
            chosen[0] if chosen in (["default"], ["all"]) else chosen,
            layers=_layers(layers),
            exponents=[_number(one, "--exponents") for one in _names(exponents)],
            at=at if at in ("all", "final") else _steps(at),
            inputs=_names(inputs),
        )
        if wait and done.id:
            done = next(one for one in client.wait_measured(experiment) if one.id == done.id)
    if as_json:
        print_json(done)
    else:
        _print(done, waited=wait)
    if done.counts.get("failed"):
        raise Stop(f"{done.counts['failed']} trials were not measured: {done.errors[0]}", Exit.NO)


def _print(done: RemeasurementBody, *, waited: bool) -> None:
    for why, part in done.left_out.items():
        if part.count:
            some = ", ".join(part.trials[:5]) + (", .." if part.count > 5 else "")
            print_warning(f"{part.count} trials {_WHY.get(why, why)}: {some}")
    if done.id is None:
        out.print(f"{done.experiment}: nothing to measure")
        return
    out.print(f"{done.id}: {', '.join(done.metrics)} of {done.trials} trials" + (" are measured" if waited else ""))
    if done.replaced:
        out.print(f"numbers by an older definition gave way: {', '.join(done.replaced)}")
    out.print(f"Next: nfa results {done.experiment} --metric {done.metrics[0]}")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _layers(text: str) -> Any:
    if text in ("first", "all"):
        return text
    return [int(one) if one.isdecimal() else one for one in _names(text)] or None


def _steps(text: str) -> list[int]:
    steps = _names(text)
    if not steps or not all(one.isdecimal() for one in steps):
        raise Stop(f"--at {text}: write all, final, or steps as 0,1000", Exit.USAGE)
    return [int(one) for one in steps]


def _number(text: str, option: str) -> float:
    try:
        return float(json.loads(text))
    except (TypeError, ValueError) as error:
        raise Stop(f"{option} {text}: write numbers, as 0.25,0.5", Exit.USAGE) from error
