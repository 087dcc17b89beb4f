"""create_app(settings): wires routers, error handlers, limits and the store; no logic."""

import asyncio
import contextlib
import importlib.metadata
from collections.abc import AsyncGenerator

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry
from starlette.staticfiles import StaticFiles

from service.api import (
    catalogue,
    cluster,
    control,
    datasets,
    events,
    experiments,
    exports,
    fits,
    health,
    metrics,
    results,
    trials,
)
from service.api.access import Access
from service.api.compression import add_compression
from service.api.erasing import erase_in_background, settle_in_background
from service.api.etags import KeptAnswers
from service.api.forwarding import Forwarding
from service.api.known_parameters import no_misspelt_parameters
from service.api.limits import BodyLimit, Deadlines, NoNul
from service.api.openapi import complete_openapi
from service.api.problem_answers import add_handlers
from service.api.request_log import add_request_log
from service.api.reserved_threads import reserved_threads
from service.api.sign_ins import SignIns
from service.api.slashes import Slashes
from service.api.watching import Watching
from service.bundles import routes as bundle_routes
from service.heap import settle_heap
from service.settings import Settings
from service.store.session import Store, open_store
from service.store.tokens import has_tokens
from service.tokens import is_loopback, refuse_open_address
from service.tracing.requests import add_traces, tracing
from service.web import bulk, compare_pages, experiment_page, figure_pages, pages, steering
from service.web.error_pages import add_page_handlers
from service.web.kept import Kept
from service.web.page_route import FOLDER

DESCRIPTION = """
Sweeps on the **Neural Feature Ansatz**: submit a grid of small networks, have every trial trained and measured, and ask
questions about the whole.

1. `POST /api/v1/experiments/preview` says what a grid costs; `POST /api/v1/experiments` runs it.
2. `GET /api/v1/experiments/{id}` shows progress.
3. `GET /api/v1/experiments/{id}/results` groups and averages; `.../verdicts` judges the grid's claims.

Errors are problem documents (RFC 9457) that name what was received, what is allowed and the next step. Undefined
numbers are null. Times are UTC.
"""


@contextlib.asynccontextmanager
async def _open(app: FastAPI, settings: Settings, store: Store | None) -> AsyncGenerator[None]:
    """What lasts as long as the application answers: its store, and what it does beside answering."""
    app.state.store = store or open_store(settings.store_url, connections=settings.database_connections)
    # an application may be opened twice at once, and each time ends what it began
    closing, deleted = asyncio.Event(), asyncio.Event()
    app.state.closing, app.state.deleted = closing, deleted
    app.state.threads = reserved_threads()
    app.state.watching = watching = Watching(app.state.store, app.state.threads.streams, closing)
    if not is_loopback(settings.host):
        refuse_open_address(settings.host, has_tokens(app.state.store))
    erasing = asyncio.create_task(erase_in_background(app.state.store, deleted, closing))
    settling = asyncio.create_task(settle_in_background(app.state.store, closing))
    with tracing(app.state.store, settings.otlp_endpoint, settings.otlp_headers) as app.state.traces:
        settle_heap()
        yield
    closing.set()
    deleted.set()
    await asyncio.gather(erasing, settling)
    await watching.ended()
    if store is None:
        app.state.store.close()


def create_app(settings: Settings | None = None, store: Store | None = None) -> FastAPI:
    """The application; a store that is given is used and left open."""
    settings = settings or Settings()
    app = FastAPIOffline(
        title="NFA service",
        version=importlib.metadata.version("nfa-service"),
        description=DESCRIPTION,
        lifespan=lambda app: _open(app, settings, store),
        docs_url="/docs",
        redoc_url=None,
        static_url="/static/docs",
    )
    app.state.settings = settings
    app.state.sign_ins = SignIns(settings.failed_sign_ins_per_minute)
    app.state.kept_answers = KeptAnswers()
    app.state.kept_for_pages = Kept()
    add_handlers(app)
    add_page_handlers(app)
    # the last one added is the first to see a request
    add_compression(app)
    app.add_middleware(BodyLimit, max_body_bytes=settings.max_body_bytes, max_upload_bytes=settings.max_upload_bytes)
    app.add_middleware(Deadlines, body_seconds=settings.body_seconds, stall_seconds=settings.stall_seconds)
    app.add_middleware(Access, settings=settings)
    app.add_middleware(NoNul)
    app.state.registry = CollectorRegistry()
    app.add_middleware(metrics.Requests, registry=app.state.registry)
    add_request_log(app)
    app.add_middleware(Slashes)
    app.add_middleware(Forwarding, settings=settings)
    if settings.otlp_endpoint:
        add_traces(app)
    for module in (experiments, control, events, trials, results, fits, exports, catalogue, datasets, cluster):
        app.include_router(module.router, prefix="/api/v1", dependencies=[Depends(no_misspelt_parameters)])
    app.include_router(bundle_routes.router, prefix="/api/v1", dependencies=[Depends(no_misspelt_parameters)])
    app.include_router(health.router)
    app.include_router(metrics.router)
    for module in (bulk, compare_pages, experiment_page, figure_pages, pages, steering):
        app.include_router(module.router)
    app.mount("/static/web", StaticFiles(directory=FOLDER / "static"), name="web")
    complete_openapi(app)
    return app
