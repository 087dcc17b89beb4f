"""`nfa datasets`: files of data and of initial weights."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli.display import out, print_json
from service.cli.exits import HELP, Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, Token, Url, connect
from service.cli.plain_tables import PlainTable
from service.cli.wording import for_a_shell
from service.client import Client
from service.schemas.datasets import DatasetBody

app = typer.Typer(help="Data and initial weights that grids name by id.", no_args_is_help=True)
DatasetId = Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.")]
Columns = "columns, or the one array: names with commas between, first..last for all between"
_SHORT = 12


@app.command(epilog=HELP)
def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .npz, .safetensors, .csv or .parquet.")],
    name: Annotated[str | None, typer.Option(help="A label for people; default: the file's name.")] = None,
    x: Annotated[str | None, typer.Option("--x", help=f"What is x: {Columns}.")] = None,
    y: Annotated[str | None, typer.Option("--y", help="What is y.")] = None,
    x_test: Annotated[str | None, typer.Option("--x-test", help="What is x of a test set.")] = None,
    y_test: Annotated[str | None, typer.Option("--y-test", help="What is y of a test set.")] = None,
    targets: Annotated[
        Literal["auto", "classes", "numbers"],
        typer.Option(help="classes: whole numbers in y are labels, made one-hot; numbers: they are not."),
    ] = "auto",
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file, and say what it was read as."""
    with connect(url, token) as client:
        made = client.upload(file, name, x=x, y=y, x_test=x_test, y_test=y_test, targets=targets)
    if as_json:
        print_json(made)
        return
    _say(made)
    is_data = "x" in made.arrays
    section, key = ("data", "kind: uploaded, dataset_id") if is_data else ("init", "scheme: given, weights_id")
    out.print(f"In a grid: {section}: {{{key}: {made.id}}}", soft_wrap=True)


@app.command("list", epilog=HELP)
def list_datasets(url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """List what was uploaded."""
    with connect(url, token) as client:
        found = list(client.datasets())
    if as_json:
        print_json(found)
    elif found:
        rows = [
            (
                *(one.id[:_SHORT], one.name, _shapes(one), f"{one.created_at:%Y-%m-%d %H:%M}", one.owner or ""),
                "" if one.bytes is None else f"{one.bytes / 1e6:,.1f}",
            )
            for one in found
        ]
        titles = ("id", "name", "arrays", "created (UTC)", "owner", "MB")
        out.print(PlainTable(dict.fromkeys(titles, "left"), rows))
    else:
        out.print("No datasets. Upload one: nfa datasets upload FILE")


@app.command(epilog=HELP)
def show(dataset: DatasetId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Say what an upload was read as."""
    with connect(url, token) as client:
        one = _found(client, dataset)
    if as_json:
        print_json(one)
    else:
        _say(one)


@app.command(epilog=HELP)
def delete(dataset: DatasetId, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Delete an upload that no experiment's trial uses."""
    with connect(url, token) as client:
        one = _found(client, dataset)
        client.delete_dataset(one.id)
    out.print(f"{one.id[:_SHORT]} {one.name} is deleted")


def _found(client: Client, given: str) -> DatasetBody:
    """The dataset whose id begins so."""
    found = [one for one in client.datasets() if one.id.startswith(given)] if given else []
    if len(found) != 1:
        told = "several datasets have ids that begin" if found else "no dataset has an id that begins"
        raise Stop(f"{told} with {given!r}: `nfa datasets list` shows them", Exit.USAGE)
    return found[0]


def _say(one: DatasetBody) -> None:
    out.print(f"{one.id}: {one.name}", soft_wrap=True)
    for name, shape in one.arrays.items():
        made_of = ", ".join(one.columns.get(name, ()))
        out.print(f"  {name} {tuple(shape)}" + (f" from {made_of}" if made_of and made_of != name else ""))
    if one.left_out:
        out.print(f"  left out: {', '.join(one.left_out)}")
    for note in one.notes:
        out.print(f"  {for_a_shell(note)}")


def _shapes(one: DatasetBody) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in one.arrays.items())
