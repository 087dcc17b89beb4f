"""Reads a grid out of a request body, as JSON or YAML, and expands it."""

from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Request

from service.api.deps import SettingsDep, StoreDep
from service.grid.document import parse_document
from service.grid.expansion import Expansion
from service.grid.outline import Grid
from service.planning.plan import Plan
from service.store.expansions import planned

EXAMPLE = {
    "name": "does weight decay restore the NFA?",
    "trial": {"network": {"depth": 3, "width": 16}, "training": {"learning_rate": 0.02, "steps": 2000}},
    "axes": {"training.weight_decay": [0, 0.05, 0.1]},
    "seeds": 3,
    "claims": [
        {
            "id": "restored",
            "says": "with decay the ansatz holds",
            "where": "training.weight_decay >= 0.05",
            "metric": "alignment",
            "every_trial": ">= 0.99",
        }
    ],
}
EXAMPLE_YAML = """\
name: does weight decay restore the NFA?
trial:
  network: {depth: 3, width: 16}
  training: {learning_rate: 0.02, steps: 2000}
axes:
  training.weight_decay: [0, 0.05, 0.1]
seeds: 3
"""
OPENAPI_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A grid: the settings of a trial, the axes along which they vary, seeds, and claims.",
        "content": {
            "application/json": {"schema": Grid.model_json_schema(), "example": EXAMPLE},
            "application/yaml": {"schema": {"type": "string"}, "example": EXAMPLE_YAML},
        },
    }
}


async def body_bytes(request: Request) -> bytes:
    """The whole body; its size is bounded before."""
    return await request.body()


def content_type(request: Request) -> str:
    """The body's media type as it was sent; empty where nothing is said."""
    return request.headers.get("content-type", "")


BodyDep = Annotated[bytes, Depends(body_bytes)]
TypeDep = Annotated[str, Depends(content_type)]


class SentGrid(NamedTuple):
    """A body that is a grid."""

    document: dict[str, Any]
    """As it was written."""
    expansion: Expansion
    plan: Plan | None
    """What it asks to be found."""


def read_grid(body: BodyDep, media: TypeDep, store: StoreDep, settings: SettingsDep) -> SentGrid:
    """The grid of a body."""
    document = parse_document(body, media)
    return SentGrid(document, *planned(store, document, settings.limits))


GridDep = Annotated[SentGrid, Depends(read_grid)]
