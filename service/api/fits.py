"""What an experiment has found, and the rounds of its searches."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from service.api.deps import StoreDep
from service.api.etags import answer_once
from service.api.formats import json_answer
from service.schemas.bodies import Page
from service.schemas.fits import Fits, RoundBody
from service.store.found import found_by
from service.store.rounds import searched
from service.store.versions import version_of

router = APIRouter(prefix="/experiments/{experiment_id}", tags=["results"])


@router.get("/fits", summary="What was found", response_model=Fits)
def get_fits(experiment_id: str, store: StoreDep, request: Request) -> Any:
    """Boundaries with brackets, intervals of points that seeds are added for, slopes and rates of claims."""

    def make(headers: dict[str, str]) -> Response:
        return json_answer(found_by(store, experiment_id), headers)

    return answer_once(request, "json", version_of(store, [experiment_id], while_running=True), make)


@router.get("/rounds", summary="What searches added", response_model=Page[RoundBody])
def get_rounds(experiment_id: str, store: StoreDep) -> dict[str, Any]:
    """Every round that dispatchers added to the grid, the first one first."""
    return {"items": [asdict(kept) for kept in searched(store, experiment_id).rounds], "next_cursor": None}
