"""Uploaded arrays, addressed by the SHA-256 of their content."""

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
from sqlalchemy import Connection, Select, Text, cast, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from service.datasets.targets import classification_losses
from service.datasets.tokens import token_count
from service.errors import Conflict, NotFound, UploadsFull
from service.grid.data_shapes import Uploaded
from service.grid.inputs import datasets_of
from service.grid.points import Point
from service.store.ids import experiment_id
from service.store.keys import among_words
from service.store.models import dataset, experiment_trial, remeasured_trial, remeasurement, settings, trial
from service.store.session import Store, utc_now
from service.store.wanting import one_at_a_time, one_upload_at_a_time


class DatasetRecord(NamedTuple):
    """An uploaded dataset, without its content."""

    sha256: str
    name: str
    arrays: dict[str, list[int]]
    facts: dict[str, Any] | None
    """What its columns became, what was left out, and which losses can read its targets; None where nobody asked."""
    created_at: datetime
    owner: str | None = None
    """Who uploaded it first; None of what was kept before owners had a limit."""
    bytes: int | None = None
    """What it holds."""


_ID = dataset.c.sha256
_INSERT: Final = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_NAMED = 8
"""Experiments that a refusal names."""
_RECORD = (
    dataset.c.sha256,
    dataset.c.name,
    dataset.c.arrays,
    dataset.c.facts,
    dataset.c.created_at,
    dataset.c.owner,
    dataset.c.bytes,
)


def add_dataset(
    store: Store,
    sha256: str,
    name: str,
    arrays: Mapping[str, np.ndarray],
    facts: Mapping[str, Any] | None = None,
    *,
    owner: str = "local",
    max_bytes: int | None = None,
) -> tuple[DatasetRecord, bool]:
    """Keep arrays under their content's digest; answers the record and whether it is new.

    Args:
        store: where to.
        sha256: the digest.
        name: a label for people.
        arrays: by name.
        facts: what they were made of.
        owner: whose they are, if nobody has uploaded them before.
        max_bytes: that all uploads of one owner may hold; None: any number.
    Raises:
        UploadsFull: the owner's would hold more.
    """
    written = io.BytesIO()
    np.savez(written, allow_pickle=False, **dict(arrays))
    content = written.getvalue()
    with store.write() as connection:
        one_upload_at_a_time(connection, owner)
        row = connection.execute(select(*_RECORD).where(dataset.c.sha256 == sha256)).one_or_none()
        if row is not None:
            return DatasetRecord(*row), False
        shapes = {key: list(array.shape) for key, array in arrays.items()}
        told = None if facts is None else dict(facts)
        record = DatasetRecord(sha256, name, shapes, told, utc_now(), owner, len(content))
        if max_bytes is not None:
            _refuse_full(connection, owner, len(content), max_bytes)
        new: Any = _INSERT[connection.dialect.name](dataset).values(**record._asdict(), content=content)
        if connection.scalar(new.on_conflict_do_nothing(index_elements=["sha256"]).returning(_ID)) is not None:
            return record, True
        # somebody else has uploaded the same since
        return _require(connection, sha256), False


def _refuse_full(connection: Connection, owner: str, size: int, most: int) -> None:
    """Refuse what makes an owner's uploads hold too much. Raises UploadsFull."""
    query = select(func.count(), func.coalesce(func.sum(dataset.c.bytes), 0)).where(dataset.c.owner == owner)
    count, held = connection.execute(query).one()
    if held + size > most:
        raise UploadsFull(
            f"{count} uploads of {owner} hold {int(held):,} bytes, this one would add {size:,}, and they may hold "
            f"{most:,} together (NFA_MAX_UPLOADED_BYTES): delete what no trial uses (`nfa datasets list`, DELETE "
            "/datasets/ID), or ask whoever runs the service for more"
        )


def get_dataset(store: Store, sha256: str) -> DatasetRecord:
    """One dataset. Raises NotFound."""
    with store.read() as connection:
        return _require(connection, sha256)


def _require(connection: Connection, sha256: str) -> DatasetRecord:
    row = connection.execute(select(*_RECORD).where(dataset.c.sha256 == sha256)).one_or_none()
    if row is None:
        raise NotFound(f"no dataset {sha256[:80]!r}: GET /datasets lists them")
    return DatasetRecord(*row)


def list_datasets(store: Store, *, limit: int, after: str | None) -> tuple[list[DatasetRecord], str | None]:
    """Datasets by digest, and the key to go on from (null at the end)."""
    query = select(*_RECORD).order_by(dataset.c.sha256).limit(limit + 1)
    if after is not None:
        query = query.where(dataset.c.sha256 > after)
    with store.read() as connection:
        found = [DatasetRecord(*row) for row in connection.execute(query)]
    return found[:limit], found[limit - 1].sha256 if len(found) > limit else None


def delete_dataset(store: Store, sha256: str) -> None:
    """Delete a dataset that no trial of an experiment uses, and nothing that waits to be measured again.

    Raises:
        NotFound: there is none.
        Conflict: trials or requests use it; names their experiments.
    """
    named = cast(settings.c.document, Text).like(f"%{sha256}%")
    users = (
        select(experiment_trial.c.experiment_id)
        .join(trial, trial.c.id == experiment_trial.c.trial_id)
        .join(settings, settings.c.id == trial.c.settings_id)
        .where(named)
        .distinct()
        .order_by(experiment_trial.c.experiment_id)
        .limit(_NAMED + 1)
    )
    with store.write() as connection:
        one_at_a_time(connection)
        known = _require(connection, sha256)
        if found := list(connection.scalars(users)):
            raise Conflict(
                f"dataset {known.name!r} is used by trials of {_told(found)}: delete those first "
                "(DELETE /experiments/ID)"
            )
        if found := list(connection.scalars(_measuring_on(sha256))):
            raise Conflict(
                f"dataset {known.name!r} is what kept weights of {_told(found)} wait to be measured on: wait until "
                "they are (GET /experiments/ID/measure), or cancel that (POST /experiments/ID/cancel)"
            )
        connection.execute(delete(dataset).where(dataset.c.sha256 == sha256))


def _measuring_on(sha256: str) -> Select[Any]:
    """Experiments whose requests have yet to measure kept weights on a dataset."""
    job, request = remeasured_trial.c, remeasurement.c
    return (
        select(request.experiment_id)
        .join(remeasured_trial, job.remeasurement_id == request.id)
        .where(job.state.in_(["queued", "running"]), request.experiment_id.is_not(None))
        .where(cast(request.asked, Text).like(f"%data-{sha256}%"))
        .distinct()
        .order_by(request.experiment_id)
        .limit(_NAMED + 1)
    )


def _told(experiments: Sequence[int]) -> str:
    return ", ".join(map(experiment_id, experiments[:_NAMED])) + (", .." if len(experiments) > _NAMED else "")


def require_datasets(connection: Connection, forms: Iterable[Mapping[str, Any]]) -> None:
    """Refuse settings that name a dataset which was deleted since they were checked. Raises Conflict."""
    refuse_missing(connection, dataset_ids(forms))


def refuse_missing(connection: Connection, ids: Collection[str]) -> None:
    """Refuse datasets that are not there any more. Raises Conflict."""
    there = set(connection.scalars(select(_ID).where(among_words(connection, _ID, ids)))) if ids else set()
    if gone := sorted(set(ids) - there):
        raise Conflict(f"dataset {gone[0][:80]!r} was deleted at the same moment: upload it again")


_NAMING: Final = ("data", "init", "measure")
"""Sections that may name datasets."""
_NOTHING: Final[Mapping[str, Any]] = {section: {} for section in _NAMING}


def dataset_ids(forms: Iterable[Mapping[str, Any]]) -> set[str]:
    """Every dataset that canonical settings name."""
    keys = (("data", "dataset_id"), ("init", "weights_id"))
    return {
        name
        for form in forms
        for name in (
            *(form[section][key] for section, key in keys if key in form[section]),
            *datasets_of(form.get("measure", {}).get("inputs", ())),
        )
    }


def named_by(points: Iterable[Point]) -> set[str]:
    """Every dataset that the settings of points name; sections that many points share are looked at once."""
    found: set[str] = set()
    known: set[str] = set()
    for point in points:
        for section in _NAMING:
            text = point.part_text(section)
            if text not in known:
                known.add(text)
                found |= dataset_ids([{**_NOTHING, section: point.part(section)}])
    return found


def dataset_shapes(store: Store, ids: Collection[str]) -> dict[str, Uploaded]:
    """Shapes of the arrays of those of these datasets that exist, and what can read their values."""
    if not ids:
        return {}
    with store.read() as connection:
        return shapes_of(connection, ids)


def shapes_of(connection: Connection, ids: Collection[str]) -> dict[str, Uploaded]:
    """The same in a transaction."""
    if not ids:
        return {}
    rows = connection.execute(select(*_RECORD).where(among_words(connection, _ID, ids))).all()
    return {
        row.sha256: Uploaded({name: tuple(shape) for name, shape in row.arrays.items()}, *_read_by(connection, row))
        for row in rows
    }


def _read_by(connection: Connection, row: Any) -> tuple[list[str], int | None]:
    """Losses over classes that can read the targets, and how many tokens there are; values say what nobody noted."""
    facts = row.facts or {}
    if "losses" in facts and "tokens" in facts:
        return facts["losses"], facts["tokens"]
    content = connection.scalar(select(dataset.c.content).where(dataset.c.sha256 == row.sha256))
    found = np.load(io.BytesIO(content or b""), allow_pickle=False)
    arrays = {name: found[name] for name in ("x", "y", "x_test", "y_test") if name in found}
    targets = {name: array for name, array in arrays.items() if name[0] == "y"}
    return classification_losses(targets), token_count(arrays)


def arrays_for(
    store: Store, settings_: Sequence[Mapping[str, Any]], also: Iterable[str] = ()
) -> dict[str, dict[str, np.ndarray]]:
    """Arrays of every dataset that these canonical settings name, and of these, by id."""
    ids = dataset_ids(settings_).union(also)
    if not ids:
        return {}
    with store.read() as connection:
        rows = connection.execute(select(dataset.c.sha256, dataset.c.content).where(dataset.c.sha256.in_(ids)))
        return {row.sha256: dict(np.load(io.BytesIO(row.content), allow_pickle=False)) for row in rows}
