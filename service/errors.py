"""Every error the service answers with, its HTTP status and its code, on one screen.

A message names what was received, what is allowed and the next step. `errors` lists one entry per wrong field:
{"path", "message", "received", "allowed", "nearest"}, each optional but path and message.
"""

from collections.abc import Sequence
from typing import Any


class ServiceError(Exception):
    """The root: answered as application/problem+json with `status`, `code` and the message as `detail`."""

    status: int = 500
    code: str = "internal"
    title: str = "The service failed"
    retry_after_seconds: float = 1.0
    """When to try again, where trying again may help (429, 503)."""

    def __init__(self, detail: str, *, errors: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class InvalidRequest(ServiceError):
    """A parameter of the request itself is wrong."""

    status, code, title = 422, "invalid_request", "The request is not valid"


class InvalidGrid(ServiceError):
    """The grid names something unknown, has a wrong value, or does not fit together."""

    status, code, title = 422, "invalid_grid", "The grid is not valid"


class InvalidClaims(InvalidGrid):
    """A claim that is to be added names something unknown, has a wrong value, or is about what is not measured."""

    code, title = "invalid_claims", "The claims are not valid"


class QuestionTooLarge(ServiceError):
    """A question that would take more memory than one may; the message says how to ask for less."""

    status, code, title = 422, "question_too_large", "The question is too large"


class InvalidFilter(ServiceError):
    """A `where` expression does not parse or names something unknown; `errors` point at the column."""

    status, code, title = 422, "invalid_filter", "The filter is not valid"


class InvalidDataset(ServiceError):
    """An upload is not a readable file of finite arrays with fitting shapes."""

    status, code, title = 422, "invalid_dataset", "The dataset is not valid"


class InvalidBundle(ServiceError):
    """A bundle that is broken, too large, or not what its own digests and grids say."""

    status, code, title = 422, "invalid_bundle", "The bundle is not valid"


class Unauthorised(ServiceError):
    """No token, or one that opens nothing."""

    status, code, title = 401, "unauthorised", "A token is needed"


class Forbidden(ServiceError):
    """The token does not allow this."""

    status, code, title = 403, "forbidden", "Not allowed"


class TooMany(ServiceError):
    """More requests, or more queued trials, than one owner may have."""

    status, code, title = 429, "too_many", "Too many"


class NotFound(ServiceError):
    """No such experiment, trial, dataset or preset."""

    status, code, title = 404, "not_found", "Not found"


class WeightsNotKept(NotFound):
    """The trial keeps no weights of this step; the message lists those it keeps."""

    code, title = "weights_not_kept", "These weights were not kept"


class NotAcceptable(ServiceError):
    """None of the formats under Accept is one this call answers in."""

    status, code, title = 406, "not_acceptable", "No such format"


class Conflict(ServiceError):
    """The request does not fit the present state."""

    status, code, title = 409, "conflict", "Conflict with the present state"


class IdempotencyMismatch(ServiceError):
    """An Idempotency-Key came again with another body."""

    status, code, title = 422, "idempotency_mismatch", "The idempotency key was used for another request"


class TooLarge(ServiceError):
    """A body, upload or grid is over its limit."""

    status, code, title = 413, "too_large", "Too large"


class UploadsFull(ServiceError):
    """An owner's uploads would hold more than they may."""

    status, code, title = 413, "uploads_full", "No room for more uploads"


class TooSlow(ServiceError):
    """A request's body did not arrive in time."""

    status, code, title = 408, "too_slow", "The request did not arrive in time"


class UnsupportedMedia(ServiceError):
    """The body's content type is not one this call reads."""

    status, code, title = 415, "unsupported_media_type", "Unsupported content type"


class StoreUnavailable(ServiceError):
    """The database cannot be reached or did not answer in time; safe to try again."""

    status, code, title = 503, "store_unavailable", "The store is unavailable"


class StoreUnusable(ServiceError):
    """The database can be reached and cannot serve as a store; trying again does not help."""

    status, code, title = 503, "store_unusable", "The database cannot serve as a store"


class QuestionTooSlow(StoreUnavailable):
    """A statement of a question ran out of its time, and asked again it would again: no Retry-After goes with it."""

    status, code, title = 504, "question_too_slow", "The question takes too long"


class SchemaMismatch(ServiceError):
    """The database's schema is not the one this version knows."""

    status, code, title = 503, "schema_mismatch", "The store has another schema version"


class StoreReplaced(ServiceError):
    """A backup was restored since this process began: nothing that it leased before counts; start it again."""

    status, code, title = 503, "store_replaced", "The store was restored from a backup"


class BackupRefused(ServiceError):
    """A backup cannot be made or restored as asked; the message says what to do."""

    status, code, title = 409, "backup_refused", "The backup is refused"


class LeaseLost(ServiceError):
    """Another dispatcher now holds this trial: drop the result, do not retry."""

    status, code, title = 409, "lease_lost", "The lease was lost"
