"""`nfa token`: who may use the service. Works on the database itself, so it needs no token and no running service."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.database import DatabaseUrl, opened
from service.cli.display import err, out, print_json
from service.cli.exits import HELP, Exit, Stop
from service.cli.options import AsJson, Home
from service.cli.plain_tables import PlainTable
from service.errors import ServiceError
from service.store import tokens
from service.store.session import utc_now
from service.tokens import Scope, lifetime

app = typer.Typer(help="Tokens: who may use the service, and for what.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="A name for the token, as anna-laptop.")]


@app.command(epilog=HELP)
def create(
    name: Name,
    scope: Annotated[Scope, typer.Option(help="read; submit: also run and steer one's own; admin: everybody's.")],
    owner: Annotated[str | None, typer.Option(help="Whose experiments it makes and steers; default: its name.")] = None,
    expires: Annotated[str, typer.Option(help="After so long: 12h, 90d, 52w; never.")] = "90d",
    home: Home = Path(".nfa"),
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it once. From the first one on, every request to the service needs one."""
    try:
        ends = None if expires == "never" else utc_now() + lifetime(expires)
    except (ValueError, OverflowError) as error:
        raise Stop(f"--expires {expires}: {error}, or never", Exit.USAGE) from error
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise Stop("a token's name has 1 to 100 printable characters", Exit.USAGE)
    try:
        with opened(home, database_url) as store:
            secret = tokens.create_token(store, name, scope, owner=owner, expires_at=ends)
    except ServiceError as error:
        raise Stop(error.detail, Exit.REFUSED) from error
    if as_json:
        print_json({"name": name, "owner": owner or name, "scope": scope, "expires_at": ends, "token": secret})
    else:
        out.print(secret, highlight=False, soft_wrap=True)
        err.print("It is shown only now. Use it: export NFA_TOKEN=.. for `nfa`, or Authorization: Bearer .. over HTTP.")


@app.command("list", epilog=HELP)
def list_tokens(home: Home = Path(".nfa"), database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List tokens: scope, owner, expiry, last use; never the secrets."""
    with opened(home, database_url) as store:
        found = tokens.list_tokens(store)
    if as_json:
        print_json([vars(one) | {"valid": one.is_valid} for one in found])
    elif found:
        rows = [
            [
                one.name,
                one.scope.value,
                one.owner,
                _state(one),
                f"{one.last_used_at:%Y-%m-%d}" if one.last_used_at else "-",
            ]
            for one in found
        ]
        out.print(PlainTable(dict.fromkeys(("name", "scope", "owner", "state", "last used"), "left"), rows))
    else:
        out.print("No tokens: the service is open on addresses of this machine, and refuses to listen on others.")


@app.command(epilog=HELP)
def revoke(name: Name, home: Home = Path(".nfa"), database_url: DatabaseUrl = None) -> None:
    """Let a token open nothing any more; running services notice within five seconds."""
    try:
        with opened(home, database_url) as store:
            tokens.revoke_token(store, name)
    except ServiceError as error:
        raise Stop(error.detail, Exit.REFUSED) from error
    out.print(f"{name} is revoked")


def _state(one: tokens.Token) -> str:
    if one.revoked_at is not None:
        return "revoked"
    if one.expires_at is None:
        return "valid for ever"
    return f"{'valid until' if one.is_valid else 'expired'} {one.expires_at:%Y-%m-%d}"
