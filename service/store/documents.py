"""Settings by their keys: they never change under a key, so that they are read and parsed once."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, select

from service.store.keys import among
from service.store.models import settings

_MOST_DOCUMENTS = 20_000
_documents: WeakKeyDictionary[Engine, dict[int, Mapping[str, Any]]] = WeakKeyDictionary()


def documents_of(connection: Connection, keys: set[int]) -> Mapping[int, Mapping[str, Any]]:
    """Settings by their keys."""
    known = _documents.setdefault(connection.engine, {})
    missing = [key for key in keys if key not in known]
    if missing:
        if len(known) + len(missing) > _MOST_DOCUMENTS:
            known.clear()
            missing = list(keys)
        query = select(settings.c.id, settings.c.document).where(among(connection, settings.c.id, missing))
        known.update({row.id: row.document for row in connection.execute(query).all()})
    return {key: known[key] for key in keys}
