"""Tokens in the store: their hashes, scopes, owners, expiry and last use."""

import contextlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, insert, literal, or_, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from service.errors import Conflict, NotFound, StoreUnavailable
from service.store.models import token
from service.store.session import Store, utc_now
from service.tokens import Actor, Scope, digest, new_token

_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Token:
    """What is known of a token; the secret itself is not."""

    name: str
    owner: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def is_valid(self) -> bool:
        """Whether it opens the service now."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > utc_now())


def create_token(
    store: Store, name: str, scope: Scope, *, owner: str | None = None, expires_at: datetime | None = None
) -> str:
    """Make a token and answer its secret, which is not kept. The owner is its name unless told otherwise.

    Raises:
        Conflict: the name is in use.
    """
    secret = new_token()
    values = {
        "name": name,
        "owner": owner or name,
        "scope": scope,
        "digest": digest(secret),
        "created_at": utc_now(),
        "expires_at": expires_at,
    }
    with store.write() as connection:
        try:
            with connection.begin_nested():
                connection.execute(insert(token).values(**values))
        except IntegrityError as error:
            raise Conflict(f"there is a token named {name} already: choose another name, or revoke it first") from error
    return secret


def list_tokens(store: Store) -> list[Token]:
    """All of them, revoked and expired ones included, oldest first."""
    with store.read() as connection:
        return [_token(row) for row in connection.execute(select(token).order_by(token.c.created_at, token.c.name))]


def revoke_token(store: Store, name: str) -> None:
    """Let a token open nothing any more. Raises NotFound."""
    with store.write() as connection:
        changed = connection.execute(
            update(token).where(token.c.name == name, token.c.revoked_at.is_(None)).values(revoked_at=utc_now())
        )
        if changed.rowcount == 0:
            raise NotFound(f"no token {name} that could be revoked: `nfa token list` shows all")


def forget_tokens(store: Store, before: datetime) -> int:
    """Drop tokens that were revoked or expired before a time; answers how many."""
    gone = or_(token.c.revoked_at < before, token.c.expires_at < before)
    with store.write() as connection:
        return connection.execute(delete(token).where(gone)).rowcount


def has_tokens(store: Store) -> bool:
    """Whether any token was ever made: then every request needs one, also when all are revoked."""
    with store.read() as connection:
        return connection.scalar(select(literal(1)).select_from(token).limit(1)) is not None


def find_actor(store: Store, secret: str) -> Actor | None:
    """Who holds a secret; None where it opens nothing.

    Its use is noted at most once a minute, where that needs no waiting: nobody is kept from reading by it.
    """
    hashed = digest(secret)
    with store.read() as connection:
        row = connection.execute(select(token).where(token.c.digest == hashed)).one_or_none()
    # the index has compared the hashes already; this keeps the comparison's time from telling anything more
    if row is None or not hmac.compare_digest(row.digest, hashed):
        return None
    found = _token(row)
    if not found.is_valid:
        return None
    if found.last_used_at is None or utc_now() - found.last_used_at > _NOTED_EVERY:
        _note_use(store, hashed)
    return Actor(found.owner, found.scope, found.name)


def _note_use(store: Store, hashed: str) -> None:
    """Note that a token was used now; not where others write, nor in a database that is full or only read."""
    with contextlib.suppress(StoreUnavailable, DBAPIError), store.write_at_once() as connection:
        connection.execute(update(token).where(token.c.digest == hashed).values(last_used_at=utc_now()))


def _token(row: Row[Any]) -> Token:
    return Token(
        row.name, row.owner, Scope(row.scope), row.created_at, row.expires_at, row.last_used_at, row.revoked_at
    )
