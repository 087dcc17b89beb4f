"""Which trials of a grid the store has, asked by their settings first: most grids are new, and need no hashes."""

from collections.abc import Mapping

from sqlalchemy import select

from service.grid import canonical
from service.grid.expansion import Expansion
from service.store.insertions import chunks
from service.store.keys import among_words
from service.store.models import settings
from service.store.session import Store
from service.store.submissions import known_fingerprints


def known_trials(store: Store, expansion: Expansion) -> Mapping[int, frozenset[int]]:
    """Place of a point -> those of the grid's seeds with which the store has it already, cancelled ones left out.

    Points of which it has none are left out.
    """
    hashed = canonical.fingerprinter()
    places = _places(store, expansion)
    prints = {hashed(expansion.points[place].text, seed): (place, seed) for place in places for seed in expansion.seeds}
    found: dict[int, set[int]] = {}
    for known in known_fingerprints(store, prints):
        place, seed = prints[known]
        found.setdefault(place, set()).add(seed)
    return {place: frozenset(seeds) for place, seeds in found.items()}


def _places(store: Store, expansion: Expansion) -> list[int]:
    """Points whose settings the store has, whatever the seeds."""
    with store.read() as connection:
        if connection.scalar(select(settings.c.id).limit(1)) is None:
            return []
        at = {point.digest: place for place, point in enumerate(expansion.points)}
        there: list[str] = []
        for chunk in chunks(at):
            there += connection.scalars(
                select(settings.c.digest).where(among_words(connection, settings.c.digest, chunk))
            )
    return sorted(at[digest] for digest in there)
