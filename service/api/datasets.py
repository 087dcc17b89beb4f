"""Upload arrays, look at what was uploaded, and delete it."""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from service.api.access import ActorDep
from service.api.deps import Cursor, Limit, SettingsDep, StoreDep, decode_cursor, encode_cursor
from service.api.grid_bodies import BodyDep, TypeDep
from service.datasets.reading import ANY, MEDIA, Wish, read_upload
from service.datasets.targets import Targets
from service.schemas.bodies import Page
from service.schemas.datasets import DatasetBody
from service.store import datasets

router = APIRouter(prefix="/datasets", tags=["datasets"])
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself, no form: arrays as .npz or .safetensors, or a table with columns x.. and y..",
        "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in (*MEDIA, ANY)},
    }
}
Names = Annotated[
    list[str] | None,
    Query(
        max_length=1000,
        description="Columns, or the one array, to take: names with commas between, `first..last` for all from .. to.",
    ),
]


@router.post(
    "",
    status_code=201,
    summary="Upload arrays",
    response_model=DatasetBody,
    openapi_extra=_BODY,
    responses={200: {"model": DatasetBody, "description": "The file was there already"}},
)
def upload(
    body: BodyDep,
    media: TypeDep,
    store: StoreDep,
    settings: SettingsDep,
    actor: ActorDep,
    response: Response,
    name: Annotated[str, Query(min_length=1, max_length=200, description="A label for people.")],
    x: Names = None,
    y: Names = None,
    x_test: Names = None,
    y_test: Names = None,
    targets: Annotated[
        Targets,
        Query(
            description="classes: whole numbers in y are labels, made one-hot; numbers: they are not; auto: by kind."
        ),
    ] = "auto",
) -> dict[str, Any]:
    """Keep arrays under the SHA-256 of the file; the same file again answers 200 and the first record.

    Columns x.. and y.. of a table, and arrays x and y (x_train, train_images, labels, ..) of a file are found by their
    names; the answer says what became what and what was left out. Names that may mean several things are refused with
    the mapping to send: `?x=a,b&y=c`. With a mapping the id is that of file and mapping together.
    """
    wish = Wish({"x": x or (), "y": y or (), "x_test": x_test or (), "y_test": y_test or ()}, targets)
    found = read_upload(body, media, wish, settings.max_upload_numbers)
    digest = hashlib.sha256(body)
    if wish:
        digest.update(b"\0" + wish.written().encode())
    record, is_new = datasets.add_dataset(
        store,
        digest.hexdigest(),
        name,
        found.arrays,
        found.facts(),
        owner=actor.owner,
        max_bytes=settings.max_uploaded_bytes,
    )
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
    """Names and shapes of its arrays, what they were made of, and what was left out."""
    return _body(datasets.get_dataset(store, dataset_id))


@router.delete("/{dataset_id}", summary="Delete a dataset", status_code=204)
def delete_dataset(dataset_id: str, store: StoreDep) -> None:
    """Delete an upload; 409 names the experiments while trials of theirs use it."""
    datasets.delete_dataset(store, dataset_id)


def _body(record: datasets.DatasetRecord) -> dict[str, Any]:
    body = record._asdict()
    return body | (body.pop("facts") or {}) | {"id": record.sha256}
