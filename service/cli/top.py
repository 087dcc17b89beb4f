"""`nfa top`: who works, what waits, how fast it goes and what fails, over all experiments."""

import time
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from service.cli.display import Columns, out, print_json
from service.cli.options import DEFAULT_URL, AsJson, Token, Url, connect
from service.cli.plain_tables import PlainTable
from service.cli.progress import bars, duration, magnitude
from service.client import Client
from service.questions.waiting import NOBODY
from service.schemas.cluster import ActivityBody, Cluster
from service.states import TrialState

_MOST_ROWS = 8


def top(
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, as where the output is no terminal.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Watch the cluster: throughput, queue by owner, running stacks, failures by reason. Ctrl-C ends it."""
    with connect(url, token) as client:
        if as_json:
            print_json({"cluster": client.cluster(), "activity": client.activity()})
        elif once or not out.is_terminal:
            out.print(_look(client))
        else:
            _watch(client, out, every)


def _watch(client: Client, console: Console, every: float) -> None:
    with Live(_look(client), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(every)
            live.update(_look(client), refresh=True)


def _look(client: Client) -> RenderableType:
    return view(client.cluster(), client.activity())


def view(cluster: Cluster, activity: ActivityBody) -> RenderableType:
    """The whole screen: at most eight rows of each table, the largest first."""
    return Group(
        *_head(cluster, activity),
        *_queue(activity),
        *_stacks(cluster),
        *_failures(activity),
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _head(cluster: Cluster, activity: ActivityBody) -> list[Text]:
    alive = [one for one in cluster.dispatchers if one.alive]
    if alive:
        who = Text(f"{_counted(len(alive), 'dispatcher')}, {_counted(sum(one.slots for one in alive), 'trainer')}")
    else:
        who = Text(NOBODY, "yellow")
    left = "time left not known yet" if activity.seconds_left is None else f"{duration(activity.seconds_left)} left"
    open_ = f"{cluster.queued} wait, {cluster.running} run" + (f"; {left}" if activity.seconds_left != 0 else "")
    ended = [sum(one.ended.values()) for one in activity.buckets]
    rate = f"{magnitude(activity.per_hour)} per hour" if activity.per_hour else "none"
    hour = Text.assemble("ended in the last hour ", (bars(ended), "cyan"), f" {sum(ended)}, {rate}")
    failed = sum(one.ended.get(TrialState.FAILED, 0) for one in activity.buckets)
    if failed:
        hour.append(f", {failed} failed", "red")
    return [who, Text(open_), hour]


def _queue(activity: ActivityBody) -> list[RenderableType]:
    rows = [
        (one.owner or "-", f"{one.queued}", f"{one.running}", _shortened(one.experiments))
        for one in activity.queue[:_MOST_ROWS]
    ]
    columns: Columns = {"owner": "left", "wait": "right", "run": "right", "for": "left"}
    return [Text(), PlainTable(columns, rows)] if rows else []


def _stacks(cluster: Cluster) -> list[RenderableType]:
    stacks = [stack for one in cluster.dispatchers if one.alive for stack in one.resources.get("stacks", ())]
    rows = [
        (
            str(stack.get("stack", "")),
            f"{stack.get('trials', 0)}",
            _shortened(stack.get("experiments", ())),
            duration(stack.get("seconds", 0.0)),
        )
        for stack in sorted(stacks, key=lambda stack: -stack.get("seconds", 0.0))[:_MOST_ROWS]
    ]
    columns: Columns = {"running stack": "left", "trials": "right", "of": "left", "for": "right"}
    return [Text(), PlainTable(columns, rows)] if rows else []


def _failures(activity: ActivityBody) -> list[RenderableType]:
    rows = [
        (f"{one.count}", Text(one.reason, "red"), f"{one.trial}" + (f" of {one.experiment}" if one.experiment else ""))
        for one in activity.failures[:_MOST_ROWS]
    ]
    columns: Columns = {"failed": "right", "reason, within a day": "left", "last one": "left"}
    return [Text(), PlainTable(columns, rows)] if rows else []


def _shortened(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    return " ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
