"""Views of an experiment's page that are saved under a name: the parameters of its address."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, insert, select

from service.errors import Conflict, NotFound
from service.store.experiments import require
from service.store.models import saved_view
from service.store.session import Store, utc_now

MOST: Final = 200
"""Of one experiment."""


@dataclass(frozen=True)
class View:
    """A saved view."""

    id: int
    name: str
    parameters: dict[str, str]
    created_at: datetime


def list_views(store: Store, experiment: str) -> list[View]:
    """By name. Raises NotFound."""
    with store.read() as connection:
        number = require(connection, experiment)
        query = select(*_COLUMNS).where(saved_view.c.experiment_id == number).order_by(saved_view.c.name)
        rows = connection.execute(query).mappings()
        # what PostgreSQL keeps has no order of its own
        return [View(**row | {"parameters": dict(sorted(row["parameters"].items()))}) for row in map(dict, rows)]


def save_view(store: Store, experiment: str, name: str, parameters: Mapping[str, str]) -> View:
    """Save a view; one of the same name is replaced.

    Raises:
        NotFound: there is no such experiment.
        Conflict: it has as many views as there may be.
    """
    with store.write() as connection:
        number = require(connection, experiment)
        of_it = saved_view.c.experiment_id == number
        connection.execute(delete(saved_view).where(of_it, saved_view.c.name == name))
        if (connection.scalar(select(func.count()).select_from(saved_view).where(of_it)) or 0) >= MOST:
            raise Conflict(f"{experiment} has {MOST} saved views, which is the most: delete one")
        row = {"name": name, "parameters": dict(parameters), "created_at": utc_now()}
        made = insert(saved_view).values(experiment_id=number, **row).returning(saved_view.c.id)
        return View(id=connection.execute(made).scalar_one(), **row)


def delete_view(store: Store, experiment: str, view: int) -> None:
    """Forget a view. Raises NotFound."""
    with store.write() as connection:
        number = require(connection, experiment)
        gone = connection.execute(
            delete(saved_view).where(saved_view.c.experiment_id == number, saved_view.c.id == view)
        )
        if not gone.rowcount:
            raise NotFound(f"{experiment} has no view {view}: GET /experiments/{experiment}/views lists them")


_COLUMNS: Final = (saved_view.c.id, saved_view.c.name, saved_view.c.parameters, saved_view.c.created_at)
