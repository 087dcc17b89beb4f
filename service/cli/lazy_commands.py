"""The commands of `nfa`, each with its module, which is imported when the command is asked for or listed.

Together they import most of the project, which takes a second; `nfa results` needs two thirds of that.
"""

from collections import UserDict
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup

from service.cli.exits import HELP

_COMMANDS: Final = {
    "up": "up:up",
    "demo": "demo:demo",
    "run": "local_run:run",
    "submit": "experiments:submit",
    "watch": "experiments:watch",
    "top": "top:top",
    "list": "experiments:list_experiments",
    "show": "experiments:show",
    "results": "answers:results",
    "compare": "compare:compare",
    "fits": "found:fits",
    "export": "export:export",
    "bundle": "bundles:bundle",
    "verify": "bundles:verify",
    "import": "bundles:import_",
    "plot": "plot:plot",
    "cancel": "steering:cancel",
    "pause": "steering:pause",
    "resume": "steering:resume",
    "retry": "steering:retry",
    "extend": "steering:extend",
    "measure": "measuring:measure",
    "delete": "steering:delete",
    "thin": "steering:thin",
    "gc": "retention:gc",
    "reproduce": "reproduce:reproduce",
    "doctor": "doctor:doctor",
    "api": "serve:api",
    "presets": "presets:app",
    "datasets": "datasets:app",
    "db": "database:app",
    "token": "tokens:app",
}
"""Command -> its file in this folder, and in that the function, or the group of commands."""


class _Imported(UserDict[str, Any]):
    """Commands by name, in the order of help, each imported when it is looked up."""

    def __getitem__(self, key: str) -> Any:
        if self.data[key] is None:
            file, what = _COMMANDS[key].split(":")
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
    """A group that knows the names of its commands, and imports what it runs."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Imported(dict.fromkeys(_COMMANDS))
