"""What a process keeps of settings stays small, and is what the store has."""

from sqlalchemy import select

from service.grid.expansion import expand
from service.store import known_settings, submissions
from service.store.known_settings import documents_of, settings_of
from service.store.models import settings


def _keys(connection):
    return list(connection.scalars(select(settings.c.id).order_by(settings.c.id)))


def test_no_more_documents_are_kept_than_there_is_room_for_whatever_is_asked(store, tiny_grid, monkeypatch):
    monkeypatch.setattr(known_settings, "_MOST_DOCUMENTS", 5)
    decays = [number / 100 for number in range(12)]
    submissions.create_experiment(store, expand(tiny_grid(axes={"training.weight_decay": decays}, seeds=1)))
    with store.read() as connection:
        keys = _keys(connection)
        assert len(keys) == 12
        # one by one, a few at once, all at once, and again
        for asked in (*([key] for key in keys), keys[:4], keys[3:8], keys, keys[:2], keys):
            found = documents_of(connection, asked)
            assert [found[key]["training"]["weight_decay"] for key in asked] == [decays[keys.index(k)] for k in asked]
            assert len(known_settings._known_of(connection).documents) <= 5


def test_no_more_experiments_are_kept_than_there_is_room_for(store, tiny_grid, monkeypatch):
    monkeypatch.setattr(known_settings, "_MOST_EXPERIMENTS", 2)
    for number in range(4):
        submissions.create_experiment(store, expand(tiny_grid(axes={"training.weight_decay": [number / 10]}, seeds=1)))
    with store.read() as connection:
        for number in (1, 2, 3, 4, 1):
            columns = settings_of(connection, number)
            assert columns.column(connection, "training.weight_decay") == [(number - 1) / 10]
            assert len(known_settings._known_of(connection).column_sets) <= 2
