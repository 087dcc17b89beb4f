"""Where formulas stand in a grid: in values, in columns of axes, in the trial block. Pure."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from service.grid.axes import Factor, Table, is_mapping, is_path
from service.grid.formulas import FUNCTIONS, is_formula
from service.grid.tokens import UNSAID


def is_setting(path: str) -> bool:
    """Whether a path leads to one setting."""
    return is_path(path) and not is_mapping(path)


def has_formula(value: Any) -> bool:
    """Whether a formula stands somewhere in a value."""
    kind = type(value)
    if kind is str:
        return is_formula(value)
    if kind is list or kind is tuple:
        return any(map(has_formula, _candidates(value)))
    return kind is dict and any(map(has_formula, value.values()))


_PLAIN: Final = (int, float, bool)
GRAMMAR: Final = f"= with numbers, paths of settings, + - * / ** ( ) and {', '.join(FUNCTIONS)}"


def _candidates(values: Sequence[Any]) -> list[Any]:
    """Items of a list in which a formula could stand."""
    some = [one for one in values if type(one) not in _PLAIN]
    return [one for one in some if type(one) is not str or one[:1] in ("=", " ")]


def texts_in(value: Any) -> Iterator[str]:
    """Every formula in a value."""
    if type(value) is str:
        if is_formula(value):
            yield value
    elif isinstance(value, Mapping):
        yield from itertools.chain.from_iterable(map(texts_in, value.values()))
    elif isinstance(value, list | tuple):
        yield from itertools.chain.from_iterable(map(texts_in, _candidates(value)))


def formula_columns(factor: Factor) -> Iterator[tuple[str, Sequence[Any]]]:
    """Columns of a factor in which there are formulas."""
    if isinstance(factor.choices, Table):
        yield from ((path, own) for path, own in factor.choices.columns.items() if has_formula(list(own)))
        return
    wanted = dict.fromkeys(part.path for choice in factor.choices for part in choice if has_formula(part.value))
    yield from ((path, column_of(factor, path)) for path in wanted)


def column_of(factor: Factor, path: str) -> Sequence[Any]:
    """The value of each choice at a path."""
    if isinstance(factor.choices, Table):
        return factor.choices.columns[path]
    own = ({part.path: part.value for part in choice} for choice in factor.choices)
    return [one.get(path, UNSAID) for one in own]


def factor_without(factor: Factor, paths: Mapping[str, Any]) -> Factor:
    """A factor that says nothing about these paths."""
    if not any(path in paths for path in factor.paths):
        return factor
    if isinstance(factor.choices, Table):
        return Factor(factor.choices.without(paths))
    return Factor(tuple(tuple(part for part in choice if part.path not in paths) for choice in factor.choices))


def block_without(block: Mapping[str, Any], keys: Sequence[str]) -> Mapping[str, Any]:
    """A mapping without what lies below its keys."""
    key, *below = keys
    if key not in block:
        return block
    if not below:
        return {name: value for name, value in block.items() if name != key}
    inner = block[key]
    return {**block, key: block_without(inner, below)} if isinstance(inner, Mapping) else block
