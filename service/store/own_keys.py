"""Keys that a large grid's trials have to themselves while it is submitted: its rows get tables of their own so."""

import contextlib
from collections.abc import Generator

from service.grid.expansion import Expansion
from service.grid.planned_rows import planned_rows
from service.store.leaving import give_back
from service.store.partitions import Range, set_aside
from service.store.session import Store


@contextlib.contextmanager
def own_keys(store: Store, expansion: Expansion, there: int = 0) -> Generator[Range | None]:
    """Keys for the trials of a grid that nobody else's have, where so many rows are planned; given back if it fails.

    Args:
        store: where it is to be submitted.
        expansion: of the grid.
        there: trials that the experiment has, where one is extended.
    """
    more = max(0, len(expansion) - there)
    own = set_aside(store, len(expansion), planned_rows(expansion.points, more)) if more else None
    try:
        yield own
    except BaseException:
        give_back(store, own)
        raise
