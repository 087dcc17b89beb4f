"""`nfa api`: the API alone, in the foreground, for machines where something else starts and restarts processes."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.display import print_warning
from service.cli.exits import Exit, Stop
from service.cli.options import Home
from service.cli.preflight import bind
from service.errors import ServiceError
from service.settings import Settings
from service.starting import importing
from service.store import schema
from service.store.session import open_store
from service.store.tokens import has_tokens
from service.tokens import refuse_open_address


def api(
    home: Home = Path(".nfa"),
    host: Annotated[str, typer.Option(envvar="NFA_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="NFA_PORT", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
) -> None:
    """Serve the API alone; the dispatcher is `python -m workers`, the schema `nfa db upgrade`. SIGTERM stops it."""
    settings = Settings(home=home.expanduser().absolute(), host=host, port=port)
    try:
        with open_store(settings.store_url) as store:
            schema.check(store)
            refuse_open_address(host, has_tokens(store))
            print_warning(store.warning)
    except ServiceError as error:
        raise Stop(error.detail, Exit.START) from error
    # the web framework takes half a second to import, which only this command should wait for
    with importing(at_start=True):
        from service.cli.api_server import serve  # noqa: PLC0415

    serve(bind(host, port), settings)
