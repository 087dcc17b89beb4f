"""From what is clicked in a figure to the trials behind it: the filter of each group. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

_MOST_GROUPS: Final = 2_000


def followed(
    table: pl.DataFrame,
    paths: Sequence[str],
    labels: Sequence[pl.Series],
    said: Mapping[str, str] | None = None,
    fields: Sequence[str] = (),
    brush: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    """What a figure carries for whoever follows a click: the `where` of a group by the labels of its marks.

    Args:
        table: the settings of the groups, a column for each path.
        paths: of the settings.
        labels: what marks are told apart by, in order: a group's key are its labels as a JSON list.
        fields: of a mark that are its labels, where they are not those of lines and cells.
        brush: what a marked range is a range of, by channel.
        said: title -> field of words in tooltips, which Vega-Lite looks for in the wrong place of the nearest point.
    """
    columns = {f"_{place}": series for place, series in enumerate(labels)}
    known = [path for path in paths if path in table.columns]
    rows = table.select(known).with_columns(**columns).unique(maintain_order=True)
    found = {
        json.dumps([row[name] for name in columns], ensure_ascii=False, separators=(",", ":")): where_of(
            {path: row[path] for path in known}
        )
        for row in rows.head(_MOST_GROUPS).to_dicts()
    }
    return {"nfa": {"where": found, "said": dict(said or {}), "fields": list(fields), "brush": dict(brush or {})}}


def where_of(values: Mapping[str, Any]) -> str:
    """The filter that picks the trials of a group; lists, which no filter can name, are left open."""
    return " and ".join(
        f"{path} is null" if value is None else f"{path} == {_written(value)}"
        for path, value in values.items()
        if not isinstance(value, list | dict) and not str(value).startswith(("[", "{"))
    )


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
