"""The lines of a bundle's trials.ndjson and what it says of an experiment, checked."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from service.bundles.opening import parse
from service.errors import InvalidBundle, InvalidRequest
from service.grid.remeasurement import Asked, names_asked, read_remeasuring
from service.states import ENDED, TrialState
from service.store.remeasured_records import MeasuredBy, RequestMade
from service.store.rounds import KeptRound, RoundsMade

_LINE_BYTES: Final = 4 << 20
_PROVENANCE_BYTES: Final = 64 << 10
"""Of one trial, which every list of trials repeats; ours take a hundredth of it."""
_Count = Annotated[int, Field(ge=0, lt=2**31)]
_Step = Annotated[int, Field(ge=0, lt=2**62)]
_Text = Annotated[str, Field(max_length=20_000)]
_Name = Annotated[str, Field(max_length=200)]
_Request = Annotated[str, Field(pattern=r"^m[1-9]\d{0,17}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class AttemptRecord(_Part):
    """One attempt at a trial."""

    number: Annotated[int, Field(ge=1, lt=2**31)]
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    outcome: Annotated[str, Field(max_length=40)] | None = None
    error: _Text | None = None


class MeasuredByRecord(_Part):
    """That a request measured a trial again."""

    request: _Request
    steps: Annotated[list[_Step], Field(min_length=1, max_length=10_000)]
    replaced: Annotated[list[_Name], Field(max_length=10_000)] = []

    def kept(self) -> MeasuredBy:
        """As a store keeps it."""
        return MeasuredBy(self.request, tuple(self.steps), tuple(self.replaced))


class TrialRecord(_Part):
    """One line: a trial as one experiment of the bundle sees it."""

    trial_id: Annotated[str, Field(pattern=r"^t[1-9]\d{0,17}$")]
    position: _Step
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    seed: int
    state: TrialState
    attempt: _Count
    failures: _Count
    error: _Text | None
    last_step: _Step | None
    kept_every: Annotated[int, Field(ge=1, lt=2**62)]
    provenance: dict[str, Any] | None
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    attempts: Annotated[list[AttemptRecord], Field(max_length=10_000)]
    measured_again: Annotated[list[MeasuredByRecord], Field(max_length=10_000)] = []

    @field_validator("provenance")
    @classmethod
    def _short(cls, provenance: dict[str, Any] | None) -> dict[str, Any] | None:
        if (size := len(json.dumps(provenance))) > _PROVENANCE_BYTES:
            raise ValueError(f"{size:,} bytes, over the limit of {_PROVENANCE_BYTES:,}")
        return provenance

    @property
    def has_finals(self) -> bool:
        """Whether it ended with a result."""
        return self.state in (TrialState.COMPLETED, TrialState.DIVERGED)

    def columns(self, digest: str) -> dict[str, Any]:
        """Of its row in a store; the bundle is named in its provenance."""
        known = {name: value for name, value in (self.provenance or {}).items() if name != "kept_every"}
        return {
            "attempt": self.attempt,
            "failures": self.failures,
            "error": self.error,
            "kept_every": self.kept_every,
            "provenance": known | {"imported_from": f"bundle {digest}"},
            "created_at": self.created_at,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
        }


class AdditionRecord(_Part):
    """A point that a search added, with its seeds."""

    point: Annotated[dict[str, Any], Field(min_length=1, max_length=100)]
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, max_length=10_000)]


class RoundRecord(_Part):
    """What was added to an experiment at once."""

    number: Annotated[int, Field(ge=1, lt=2**31)]
    created_at: AwareDatetime
    additions: Annotated[list[AdditionRecord], Field(max_length=10_000)]
    added: Annotated[dict[str, _Count], Field(max_length=100)]

    def kept(self) -> KeptRound:
        """As a store keeps it."""
        return KeptRound(self.number, self.created_at, [one.model_dump() for one in self.additions], self.added)


class RequestRecord(_Part):
    """A request that measured kept weights again; what it asks is checked as any that is made."""

    id: _Request
    own: bool
    asked: dict[str, Any]
    left_out: Annotated[dict[_Name, _Count], Field(max_length=100)] = {}
    definitions: Annotated[dict[_Name, Annotated[int, Field(ge=1, lt=2**31)]], Field(max_length=100_000)]
    created_at: AwareDatetime

    @field_validator("asked")
    @classmethod
    def _canonical(cls, asked: dict[str, Any]) -> Asked:
        try:
            return read_remeasuring(asked).asked()
        except InvalidRequest as error:
            raise ValueError(error.detail[:500]) from error

    def made(self) -> RequestMade:
        """As a store keeps it."""
        names = names_asked(self.asked)
        versions = {name: self.definitions.get(name, 1) for name in names}
        return RequestMade(self.id, self.own, self.asked, self.left_out, versions, self.created_at)


class ExperimentRecord(_Part):
    """What a bundle says of an experiment beside its grid; grid and claims are checked as any that are submitted."""

    id: str
    name: Any
    notes: Any = ""
    tags: Any = ()
    priority: Any = 0
    claims: Annotated[list[Any], Field(max_length=1_000)] = []
    created_at: AwareDatetime | datetime
    rounds: Annotated[list[RoundRecord], Field(max_length=10_000)] = []
    stopped: Annotated[dict[str, _Text], Field(max_length=100)] = {}
    measured_again: Annotated[list[RequestRecord], Field(max_length=10_000)] = []

    def made(self) -> RoundsMade:
        """The rounds of its searches."""
        return RoundsMade([one.kept() for one in self.rounds], stopped=self.stopped)

    def header(self) -> dict[str, Any]:
        """What takes the place of a grid's own name, notes and claims, since they may have been changed later."""
        return {name: getattr(self, name) for name in ("name", "notes", "tags", "priority", "claims")}


def experiment_record(document: Any, name: str) -> ExperimentRecord:
    """An experiment.json. Raises InvalidBundle."""
    try:
        return ExperimentRecord.model_validate(document)
    except ValidationError as error:
        raise InvalidBundle(f"{name}: {_first(error)}") from error


def trial_records(path: Path, name: str) -> Iterator[TrialRecord]:
    """The lines of a trials.ndjson, some of it in memory at a time. Raises InvalidBundle."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LINE_BYTES):
            number += 1
            place = f"line {number} of {name}"
            if len(line) == _LINE_BYTES:
                raise InvalidBundle(f"{place} is longer than {_LINE_BYTES:,} bytes")
            try:
                record = TrialRecord.model_validate(parse(line, place))
            except ValidationError as error:
                raise InvalidBundle(f"{place}: {_first(error)}") from error
            if record.state not in ENDED or (record.has_finals and record.last_step is None):
                raise InvalidBundle(f"{place}: trial {record.trial_id} has not ended, or without a last step")
            yield record


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in found['loc'])[:100]}: {found['msg']}"
