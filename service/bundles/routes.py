"""GET /experiments/{id}/bundle: a study as one file."""

import itertools
from typing import Annotated

from fastapi import APIRouter, Query, Response
from starlette.responses import StreamingResponse

from service.api.deps import StoreDep
from service.bundles.study import Said, study_of
from service.bundles.writing import bundle
from service.errors import InvalidRequest

router = APIRouter(prefix="/experiments/{experiment_id}", tags=["results"])
_MEDIA = "application/zip"
_LONGEST_NAME = 200


@router.get(
    "/bundle",
    summary="A study to cite, as one archive, streamed",
    response_class=StreamingResponse,
    responses={200: {"content": {_MEDIA: {"schema": {"type": "string", "format": "binary"}}}}},
)
def get_bundle(
    experiment_id: str,
    store: StoreDep,
    also: Annotated[str | None, Query(max_length=2_000, description="Further experiments: `e2,e3`.")] = None,
    title: Annotated[str, Query(max_length=500, description="Default: the experiment's name.")] = "",
    author: Annotated[list[str] | None, Query(description="May come again. Default: the owners.")] = None,
    license: Annotated[str, Query(max_length=200, description="An SPDX identifier, or an address.")] = "",
    weights: Annotated[bool, Query(description="With the weights that trials have kept.")] = False,
    figures: Annotated[bool, Query(description="With every figure that can be drawn, as PDF and Vega-Lite.")] = True,
) -> Response:
    """Grids, claims, verdicts, every measurement, figures, versions, how to cite and check all of it: a ZIP archive.

    `nfa verify` checks it, `nfa import` brings it into another store. An answer that breaks off has no directory, and
    opens nowhere. 409 while trials have not ended.
    """
    authors = tuple(author or ())
    if any(not 0 < len(one.strip()) <= _LONGEST_NAME for one in authors) or len(authors) > _LONGEST_NAME:
        raise InvalidRequest(
            f"author: names have 1 to {_LONGEST_NAME} characters, and there are at most as many of them"
        )
    others = [one.strip() for one in (also or "").split(",") if one.strip()]
    study = study_of(store, [experiment_id, *others], Said(title.strip(), authors, license.strip(), weights, figures))
    parts = (part for part in bundle(store, study) if part)
    # what goes wrong at once is answered, and not broken off
    first = next(parts)
    headers = {"Content-Disposition": f'attachment; filename="{"-".join(study.ids[:3])}-bundle.zip"'}
    return StreamingResponse(itertools.chain([first], parts), media_type=_MEDIA, headers=headers)
