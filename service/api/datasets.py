"""Upload arrays and look at what was uploaded."""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from service.api.deps import Cursor, Limit, SettingsDep, StoreDep, decode_cursor, encode_cursor
from service.api.grid_bodies import BodyDep, TypeDep
from service.datasets import CSV, NPZ, PARQUET, read_dataset
from service.schemas import DatasetBody, Page
from service.store import datasets

router = APIRouter(prefix="/datasets", tags=["datasets"])
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself, no form: an .npz of arrays, or a table with columns x.. and y..",
        "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in (NPZ, CSV, PARQUET)},
    }
}


@router.post("", status_code=201, summary="Upload arrays", response_model=DatasetBody, openapi_extra=_BODY)
def upload(
    body: BodyDep,
    media: TypeDep,
    store: StoreDep,
    settings: SettingsDep,
    response: Response,
    name: Annotated[str, Query(min_length=1, max_length=200, description="A label for people.")],
) -> dict[str, Any]:
    """Keep arrays under the SHA-256 of the file; the same file again answers 200 and the first record."""
    arrays = read_dataset(body, media, settings.max_upload_numbers)
    record, is_new = datasets.add_dataset(store, hashlib.sha256(body).hexdigest(), name, arrays)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/api/v1/datasets/{record.sha256}"
    return _body(record)


@router.get("", summary="List datasets", response_model=Page[DatasetBody])
def list_datasets(store: StoreDep, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Datasets without their content."""
    found, following = datasets.list_datasets(store, limit=limit, after=decode_cursor("datasets", cursor))
    return {"items": [_body(one) for one in found], "next_cursor": encode_cursor("datasets", following)}


@router.get("/{dataset_id}", summary="One dataset", response_model=DatasetBody)
def get_dataset(dataset_id: str, store: StoreDep) -> dict[str, Any]:
    """Names and shapes of its arrays."""
    return _body(datasets.get_dataset(store, dataset_id))


def _body(record: datasets.DatasetRecord) -> dict[str, Any]:
    return record._asdict() | {"id": record.sha256}
