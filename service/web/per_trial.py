"""Figures of trials one by one: which are asked for, and what stands along their axes."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from nfa_kernels import names
from service.grid.axes import moving_together
from service.grid.value_order import written_values
from service.questions.filters import split_final
from service.web import figures
from service.web.figures.style import shown
from service.web.figures.variables import Variable, variable
from service.web.wishes import NothingToDraw, Source, Wish

SEED = "seed"


def scatter(wish: Wish, source: Source) -> Any:
    """Any setting or final value against any other, a point for each trial."""
    axes = _axes(wish, source)
    x, y = wish.x or next(iter(axes), SEED), wish.y or _final(wish)
    settings = [path for path in (x, y) if split_final(path) is None]
    keys = list(dict.fromkeys([*axes, SEED, *settings, *wish.keys]))
    table = _trials(wish, source, keys, [path for path in (x, y) if split_final(path)] or [_final(wish)])
    along = [variable(_named(path, wish), table[path], source.order) for path in (x, y)]
    color = None if wish.color in (x, y) else wish.color
    facets = wish.facet.split(",") if wish.facet else []
    return figures.scatter(
        table, *along, color=color, facets=facets, keys=keys, title=wish.title, order=source.order, room=wish.room
    )


def distribution(wish: Wish, source: Source) -> Any:
    """The final values of every group as a strip and a box."""
    return _spread(wish, source, *_values(wish, source))


def difference(wish: Wish, source: Source) -> Any:
    """What differs from the trial of the same seed and other settings at a value of x that is the baseline; of losses
    and other metrics that decay, the ratio to it."""
    table, x, y = _values(wish, source)
    values = source.order.sorted(x, table[x].unique().to_list())
    names = [shown(value) for value in values]
    if len(names) < 2:
        raise NothingToDraw(f"fewer than two values of {x} to compare: name another under --x")
    if wish.baseline and wish.baseline not in names:
        raise NothingToDraw(
            f"no {x} {wish.baseline[:50]} to compare with: a baseline is one of {', '.join(names)[:300]}"
        )
    base = values[names.index(wish.baseline)] if wish.baseline else values[0]
    together = {path for group in source.grid.get("zip") or () if x in group for path in group} | {x}
    others = [path for path in table.columns if path not in together and split_final(path) is None]
    rows = list(zip(table.select(others).rows(), table[x].to_list(), y.values.to_list(), strict=True))
    bases = {repr(rest): value for rest, at, value in rows if at == base and value is not None}
    compared = pl.Series(
        [_compared(value, bases.get(repr(rest)), is_ratio=y.is_log) for rest, at, value in rows if at != base],
        dtype=pl.Float64,
    )
    kept = table.filter(pl.Series([at != base for _, at, _ in rows]))
    if compared.drop_nulls().is_empty():
        raise NothingToDraw(f"no two completed trials that differ in nothing but {x}")
    name = shown(base)
    title = [y.name, f"{'divided by' if y.is_log else 'minus'} that at {name}"]
    drawn = Variable("", title, compared, (), y.is_log, {})
    without = compared.null_count()
    says = f"each trial against its own seed and settings at {x} = {name}"
    says += f"; {without} without such a partner left out" if without else ""
    return _spread(wish, source, kept, x, drawn, rule=1.0 if y.is_log else 0.0, says=says)


def parallel(wish: Wish, source: Source) -> Any:
    """Every axis upright, and the final value."""
    axes = _axes(wish, source)
    if not axes:
        raise NothingToDraw("no axis: parallel coordinates need a setting that varies")
    table = _trials(wish, source, axes, [wish.y or _final(wish)])
    y = wish.y or _final(wish)
    along = [variable(path, table[path], source.order) for path in axes]
    along.append(variable(_named(y, wish), table[y]))
    pooling = source.pooling(axes, wish.where, with_running=False)
    return figures.parallel(table, along, table["_count"], title=wish.title, pooling=pooling, room=wish.room)


def _axes(wish: Wish, source: Source) -> list[str]:
    """Paths that vary, without those that another decides."""
    hidden = moving_together(source.grid)
    return [path for path in wish.axes or written_values(source.grid) if path not in hidden]


def _final(wish: Wish) -> str:
    return f"final.{wish.metric}"


def _named(path: str, wish: Wish) -> str:
    """A final value with its layer, as a filter names it."""
    final = split_final(path)
    if final is None or final[1] is not None or final[0] in names.NETWORK_METRICS:
        return path
    return f"{path}[{wish.layer}]"


def _values(wish: Wish, source: Source) -> tuple[pl.DataFrame, str, Variable]:
    """Trials with the setting beside whose values they stand, and the final value."""
    axes = _axes(wish, source)
    x, y = wish.x or next(iter(axes), SEED), wish.y or _final(wish)
    if split_final(x) is not None or split_final(y) is None:
        raise NothingToDraw(f"groups by a setting along x and a final value along y: received {x} and {y}")
    table = _trials(wish, source, list(dict.fromkeys([*axes, SEED, x, *wish.keys])), [y])
    return table.drop("_count"), x, variable(_named(y, wish), table[y])


def _spread(
    wish: Wish, source: Source, table: pl.DataFrame, x: str, y: Variable, *, rule: float | None = None, says: str = ""
) -> Any:
    facets = [path for path in (wish.facet.split(",") if wish.facet else []) if path != x]
    color = None if wish.color in (x, SEED, *facets) else wish.color
    keys = list(dict.fromkeys([x, *([color] if color else []), *facets]))
    return figures.spread(
        table,
        x,
        y,
        color=color,
        facets=facets,
        keys=[path for path in table.columns if split_final(path) is None],
        title=wish.title,
        pooling=source.pooling(keys, wish.where, with_running=False),
        order=source.order,
        room=wish.room,
        rule=rule,
        says=says,
    )


def _compared(value: float | None, base: float | None, *, is_ratio: bool) -> float | None:
    """A difference or a ratio; None where one of both has no value."""
    if value is None or base is None:
        return None
    return value / base if is_ratio else value - base


def _trials(wish: Wish, source: Source, keys: Sequence[str], finals: Sequence[str]) -> pl.DataFrame:
    """A row per group of the keys: settings, the median of each final value under its path, and `_count` of the first.

    Groups stand in one order whatever is asked of them, so that answers about several layers are set side by side.
    """
    found: pl.DataFrame | None = None
    for path in dict.fromkeys(finals):
        final = split_final(path)
        if final is None:
            raise NothingToDraw(f"no final value {path}")
        metric, layer = final
        one = source.results([metric], keys, layer or wish.layer, wish.where)
        if f"{metric}_median" not in one.columns:
            raise NothingToDraw(f"no completed trial with {metric} to draw")
        values = one[f"{metric}_median"].alias(path)
        if found is None:
            found = one.select(keys).with_columns(one[f"{metric}_count"].alias("_count"))
        found = found.with_columns(values)
    if found is None or not found.height or all(found[path].null_count() == found.height for path in finals):
        matching = f" that matches {wish.where}" if wish.where else ""
        raise NothingToDraw(f"no completed trial{matching} with {', '.join(finals)} to draw")
    return found
