"""Trials of an experiment, ticked or matching a filter, as the text of a grid that names them."""

from collections.abc import Sequence
from typing import Final

from service.errors import InvalidRequest
from service.grid.selected import grid_of
from service.store import trials
from service.store.session import Store
from service.web.written_grids import as_yaml

MOST: Final = 10_000


def selected_text(store: Store, experiment: str, ids: Sequence[str], where: str, state: str | None) -> str:
    """The grid of the trials with these ids, or without ids of those that match.

    Raises:
        InvalidRequest: there is none, or there are too many to write down.
    """
    if ids:
        found = [trials.get_trial(store, one) for one in ids]
    else:
        found, following = trials.list_trials(
            store, experiment, state=state, where=where, sort=None, limit=MOST, after=None
        )
        if following is not None:
            raise InvalidRequest(f"more than {MOST} trials match: narrow the filter, or open the experiment's own grid")
    if not found:
        raise InvalidRequest("no trial matches: there is no grid of nothing")
    selected = grid_of([(one.row.settings, one.row.seed) for one in found], f"{len(found)} trials of {experiment}")
    beside = f"# seeds hold for every point: this grid has {selected.beside} trials beside the {len(found)} selected\n"
    return (beside if selected.beside else "") + as_yaml(selected.grid)
