"""The commands of `nfa`, each with its module, which is imported when the command is asked for.

Together they import most of the project, which takes a second or two. A list of them, as `nfa --help` shows and shells
complete, imports none.
"""

import contextlib
from collections import UserDict
from collections.abc import Generator
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from service.cli.exits import HELP
from service.starting import importing

_COMMANDS: Final = {
    "up": ("up:up", "Start the service on this machine: database, API, dispatcher and a local Ray. Ctrl-C stops it."),
    "demo": (
        "demo:demo",
        "Run the weight-decay preset through REST, database, dispatcher and Ray, and draw it. Exits 0 if all claims"
        " hold.",
    ),
    "run": (
        "local_run:run",
        "Run a grid without a server: start one, train, print results and verdicts, stop. Exits 1 if a claim fails.",
    ),
    "submit": ("experiments:submit", "Submit a grid; trials that exist already are reused."),
    "watch": (
        "experiments:watch",
        "Follow an experiment until it has ended, then print results and verdicts. Exits 1 if a claim does not hold.",
    ),
    "top": (
        "top:top",
        "Watch the cluster: throughput, queue by owner, running stacks, failures by reason. Ctrl-C ends it.",
    ),
    "list": ("experiments:list_experiments", "List experiments, newest first."),
    "show": ("experiments:show", "Show an experiment: state, progress, results and verdicts."),
    "results": ("answers:results", "Group an experiment's trials and aggregate a metric over each group."),
    "compare": (
        "compare:compare",
        "Compare experiments: a row for each group of settings, a column for each of them, and where settings differ.",
    ),
    "fits": (
        "found:fits",
        "Show what an experiment has found: boundaries with brackets, intervals of seeds, slopes and rates of claims.",
    ),
    "export": (
        "export:export",
        "Write every measurement of an experiment to a file; the file is there once it is whole.",
    ),
    "bundle": (
        "bundles:bundle",
        "Write experiments that have ended to one archive: measurements, verdicts, figures, how to cite and check "
        "them.",
    ),
    "verify": (
        "bundles:verify",
        "Check a bundle: its files, its trials against its grids, its verdicts from its tables. Exits 1 if one fails.",
    ),
    "import": (
        "bundles:import_",
        "Bring a bundle's experiments into the store: its trials count as trained, and nothing is trained.",
    ),
    "plot": (
        "plot:plot",
        "Draw an experiment: curves, imbalance, phase (colour by panel), exponent by depth, profile (alignment by "
        "exponent), spectra; trials as scatter, distribution over seeds, difference to a baseline, parallel "
        "coordinates; multiples, curves in rows and columns of panels; the boundary that a search found; or fit, "
        "the power laws of claims.",
    ),
    "cancel": ("steering:cancel", "Stop an experiment's unfinished trials; what was measured is kept."),
    "pause": ("steering:pause", "Start no more of an experiment's trials; running ones go back to the queue."),
    "resume": ("steering:resume", "Go on after a pause."),
    "retry": ("steering:retry", "Run an experiment's failed, diverged or cancelled trials again."),
    "extend": (
        "steering:extend",
        "Add axis values, seeds, sampled points or steps to an experiment; only what is new runs.",
    ),
    "measure": (
        "measuring:measure",
        "Measure new metrics on the weights that an experiment's trials have kept, without training.",
    ),
    "delete": (
        "steering:delete",
        "Delete an experiment and every trial that no other experiment holds, with all that was measured.",
    ),
    "thin": ("steering:thin", "Keep every n-th measured step of an experiment's ended trials; final values stay."),
    "gc": (
        "retention:gc",
        "Delete trials of no experiment, old checkpoints, expired keys, forgotten data and dead dispatchers.",
    ),
    "reproduce": (
        "reproduce:reproduce",
        "Check every statement about the ansatz that ships as a preset: train, judge, draw, and write a report.",
    ),
    "doctor": ("doctor:doctor", "Check what the service needs on this machine. Exits 1 if something is missing."),
    "api": (
        "serve:api",
        "Serve the API alone; the dispatcher is `python -m workers`, the schema `nfa db upgrade`. SIGTERM stops it.",
    ),
    "presets": ("presets:app", "The grids that ship with the service."),
    "datasets": ("datasets:app", "Data and initial weights that grids name by id."),
    "db": ("database:app", "The database and its schema."),
    "token": ("tokens:app", "Tokens: who may use the service, and for what."),
}
"""Command -> its file in this folder, and in that the function, or the group of commands; and how its help begins."""


class _Imported(UserDict[str, Any]):
    """Commands by name, in the order of help, each imported when it is looked up."""

    def __getitem__(self, key: str) -> Any:
        if self.data[key] is None:
            file, what = _COMMANDS[key][0].split(":")
            with importing():
                found = getattr(import_module(f"service.cli.{file}"), what)
            parent = typer.Typer(add_completion=False)
            parent.callback()(lambda: None)
            if isinstance(found, typer.Typer):
                parent.add_typer(found, name=key)
            else:
                parent.command(key, epilog=HELP)(found)
            self.data[key] = typer.main.get_group(parent).commands[key]
        return self.data[key]


class LazyCommands(TyperGroup):
    """A group that knows the names of its commands and what they do, and imports what it runs."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Imported(dict.fromkeys(_COMMANDS))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the group."""
        with self._listed():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names that begin so."""
        with self._listed():
            return super().shell_complete(ctx, incomplete)

    @contextlib.contextmanager
    def _listed(self) -> Generator[None]:
        """Meanwhile, commands are their names and what they do."""
        imported = self.commands
        self.commands = {name: TyperCommand(name, help=said) for name, (_, said) in _COMMANDS.items()}
        try:
            yield
        finally:
            self.commands = imported
