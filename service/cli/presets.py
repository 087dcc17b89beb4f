"""`nfa presets`: the grids that ship with the service. They are read from the package, so no service is needed."""

from typing import Annotated

import typer

from service.cli.display import out, print_json
from service.cli.exits import HELP
from service.cli.experiments import submit_body
from service.cli.options import DEFAULT_URL, AsJson, Token, Url, connect
from service.cli.plain_tables import PlainTable
from service.presets import get_preset, list_presets

app = typer.Typer(help="The grids that ship with the service.", invoke_without_command=True)
Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.callback()
def list_all(context: typer.Context, as_json: AsJson = False) -> None:
    """List the grids that ship with the service."""
    if context.invoked_subcommand is not None:
        return
    found = list_presets()
    if as_json:
        print_json([{"name": one.name, "title": one.title, "trials": one.trials} for one in found])
        return
    rows = [(one.name, str(one.trials), one.title) for one in found]
    out.print(PlainTable({"name": "left", "trials": "right", "title": "left"}, rows))
    out.print("\nnfa presets show NAME prints one, nfa presets run NAME submits it.")


@app.command("show", epilog=HELP)
def show(name: Name, as_json: AsJson = False) -> None:
    """Print a preset's grid, as YAML to start your own from."""
    preset = get_preset(name)
    if as_json:
        print_json(preset.grid)
    else:
        typer.echo(preset.body.decode(), nl=False)


@app.command("run", epilog=HELP)
def run(
    name: Name,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what it would cost.")] = False,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Wait for it and print results.")] = True,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Submit a preset to the service and follow it."""
    body = get_preset(name).body
    with connect(url, token) as client:
        submit_body(client, body, preview=preview, watch=watch, as_json=as_json)
