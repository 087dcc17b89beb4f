"""The settings in which experiments differ, as their trials have them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from service.grid.reading import setting
from service.store.experiments import require, value_order
from service.store.known_settings import documents_of, settings_of
from service.store.session import Store

_LEFT_OUT: Final = ("measure", "layers")
"""What is measured, and how layers are called, makes no other network."""


class Difference(NamedTuple):
    """A setting, and its values in each experiment, in order; none where no trial reads it."""

    path: str
    values: list[list[Any]]


def differences(store: Store, experiments: Sequence[str]) -> list[Difference]:
    """The paths whose values are not the same in all of the experiments, in the order of sections. Raises NotFound."""
    with store.read() as connection:
        numbers = [require(connection, one) for one in experiments]
        order = value_order(connection, numbers)
        found: list[dict[str, dict[str, Any]]] = []
        for number in numbers:
            own: dict[str, dict[str, Any]] = {}
            for document in documents_of(connection, settings_of(connection, number).keys).values():
                for path in _paths(document):
                    value = setting(document, path)
                    own.setdefault(path, {}).setdefault(repr(value), value)
            found.append(own)
        paths = dict.fromkeys(path for own in found for path in own)
        differing = [path for path in paths if len({frozenset(own.get(path, ())) for own in found}) > 1]
        return [
            Difference(path, [order.sorted(path, own.get(path, {}).values()) for own in found]) for path in differing
        ]


def _paths(document: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, value in document.items():
        if not prefix and name in _LEFT_OUT:
            continue
        path = f"{prefix}{name}"
        found += _paths(value, f"{path}.") if isinstance(value, Mapping) else [path]
    return found
