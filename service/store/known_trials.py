"""Which trials of a grid the store has, asked by their settings first: most grids are new, and need no hashes."""

from collections.abc import Mapping

from sqlalchemy import select

from service.grid import canonical
from service.grid.expansion import Expansion
from service.store.held_back import is_cancelled
from service.store.insertions import chunks
from service.store.keys import among, among_words
from service.store.models import settings, trial
from service.store.session import Store


def known_trials(store: Store, expansion: Expansion) -> Mapping[int, frozenset[int]]:
    """Place of a point -> those of the grid's seeds with which the store has it already, cancelled ones left out.

    Points of which it has none are left out.
    """
    hashed = canonical.fingerprinter()
    found: dict[int, set[int]] = {}
    own = frozenset(expansion.seeds)
    places = _places(store, expansion)
    with store.read() as connection:
        for chunk in chunks(places):
            query = select(trial.c.settings_id, trial.c.seed, trial.c.fingerprint).where(
                among(connection, trial.c.settings_id, chunk), ~is_cancelled()
            )
            for key, seed, fingerprint in connection.execute(query):
                # one that was trained by an earlier version of the numbers has another
                if seed in own and hashed(expansion.points[places[key]].text, seed) == fingerprint:
                    found.setdefault(places[key], set()).add(seed)
    return {place: frozenset(seeds) for place, seeds in found.items()}


def _places(store: Store, expansion: Expansion) -> dict[int, int]:
    """Settings that the store has, whatever the seeds -> the place of their point."""
    with store.read() as connection:
        if connection.scalar(select(settings.c.id).limit(1)) is None:
            return {}
        at = {point.digest: place for place, point in enumerate(expansion.points)}
        there: dict[int, int] = {}
        for chunk in chunks(at):
            query = select(settings.c.id, settings.c.digest).where(among_words(connection, settings.c.digest, chunk))
            there |= {key: at[digest] for key, digest in connection.execute(query)}
    return there
