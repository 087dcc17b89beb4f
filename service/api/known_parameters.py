"""Refuses query parameters that are misspelt: who wrote `metrics` for `metric` would be answered the default."""

from typing import Final

from fastapi import Request
from fastapi.dependencies.models import Dependant

from service.errors import InvalidRequest
from service.grid.problems import Problems, nearest

_PAGES: Final = {"limit", "cursor"}
"""The client asks for pages of every table, also of those that come whole."""


# async: a plain function would wait for a thread before it is called
async def no_misspelt_parameters(request: Request) -> None:
    """For every route of the API; what is like no parameter of the route is left alone, as ever.

    Raises:
        InvalidRequest: names the parameters there are and the one that was meant.
    """
    given = dict.fromkeys(request.query_params.keys())
    dependant = getattr(request.scope.get("route"), "dependant", None)
    if not given or not isinstance(dependant, Dependant):
        return
    known, problems = sorted(_names_of(dependant)), Problems()
    for name in given:
        if name not in {*known, *_PAGES} and (meant := nearest(name, known)):
            problems.unknown(name, "query parameter", name, known, meant)
    problems.raise_as(InvalidRequest)


def _names_of(dependant: Dependant) -> set[str]:
    """Query parameters of a route, those of what it depends on among them."""
    return {field.alias for field in dependant.query_params}.union(*map(_names_of, dependant.dependencies))
