"""`nfa compare`: experiments side by side, and the settings in which they differ."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import polars as pl
import typer
from rich.console import Group
from rich.text import Text

from service.cli.answers import Layer, Where, layer_of
from service.cli.display import Columns, out, print_json, results_table
from service.cli.exits import Exit, Stop
from service.cli.options import DEFAULT_URL, AsJson, Token, Url, connect, newest
from service.cli.paging import show, sorted_table
from service.cli.plain_tables import PlainTable
from service.questions.number_format import number
from service.questions.shown_first import Shown, shown_first
from service.schemas.results import DifferenceBody

WHICH = "experiment"


def compare(
    experiments: Annotated[list[str], typer.Argument(metavar="ID ID ..", help="Two to eight experiments.")],
    metric: Annotated[
        str | None, typer.Option(help="One metric; default: the alignment, if the first of them measures it.")
    ] = None,
    layer: Layer = None,
    reduce: Annotated[str, typer.Option(help="As for results.")] = "final",
    agg: Annotated[str, typer.Option(help="One aggregate, as for results.")] = "mean",
    where: Where = None,
    sort: Annotated[str | None, typer.Option(help="Column to sort by; -COLUMN: downwards.", metavar="COLUMN")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Compare experiments: a row for each group of settings, a column for each of them, and where settings differ.

    Of two, `difference` is the second minus the first.
    """
    ids = list(dict.fromkeys(experiments))
    if not 2 <= len(ids) <= 8:
        raise Stop(f"received {', '.join(ids)}; name two to eight experiments, as in `nfa compare e1 e2`", Exit.USAGE)
    asked = layer_of(layer)
    with connect(url, token) as client:
        for one in ids:
            newest(client, one)
        first = shown_first(client.experiment(ids[0]).grid)
        shown = Shown(metric or first.metric, asked or first.layer)
        found = client.results(
            ids[0], metric=[shown.metric], layer=shown.layer, reduce=reduce, agg=[agg], where=where, also=ids[1:]
        )
        differing = client.differences(ids[0], ids[1:])
    side = side_by_side(found, ids, f"{shown.metric}_{agg}")
    if as_json:
        print_json({"values": side.values, "differences": differing})
        return
    values = sorted_table(side.values, sort)
    show(out, Group(*_head(shown, agg, side), results_table(values), Text(), *_differing(differing, ids)))


class Side(NamedTuple):
    """A table with a column for each experiment, and how many groups they have in common."""

    values: pl.DataFrame
    common: int


def side_by_side(found: pl.DataFrame, ids: Sequence[str], value: str) -> Side:
    """One row for each group of settings, in the order of its first experiment; null where one has no such group.

    Args:
        found: a row per experiment and group, with a first column `experiment`.
        ids: experiments, in the order of their columns.
        value: the column that is compared.
    """
    keys = [name for name in found.columns if name not in (WHICH, "trials", "incomplete", value)]
    rows: dict[str, dict[str, Any]] = {}
    for row in found.iter_rows(named=True):
        key = {path: row[path] for path in keys}
        rows.setdefault(repr(list(key.values())), key)[row[WHICH]] = row[value]
    columns = [*keys, *ids]
    values = pl.DataFrame(
        {name: [row.get(name) for row in rows.values()] for name in columns}, strict=False, infer_schema_length=None
    )
    common = sum(all(one in row for one in ids) for row in rows.values())
    if len(ids) == 2 and common:
        values = values.with_columns((pl.col(ids[1]) - pl.col(ids[0])).alias("difference"))
    return Side(values, common)


def _head(shown: Shown, agg: str, side: Side) -> list[Text]:
    told = (
        f"{agg} of {shown.metric}, layer {shown.layer}; {side.common} of {side.values.height} groups are in all of them"
    )
    return [Text(told), Text()]


def _differing(found: Sequence[DifferenceBody], ids: Sequence[str]) -> list[PlainTable | Text]:
    if not found:
        return [Text("Their trials have the same settings.")]
    columns: Columns = dict.fromkeys(["differ in", *ids], "left")
    rows = [(one.path, *(", ".join(map(number, one.values[each])) or "-" for each in ids)) for one in found]
    return [PlainTable(columns, rows)]
