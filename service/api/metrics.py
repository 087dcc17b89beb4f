"""What Prometheus may ask: requests by route, and the queue and dispatchers as the store knows them."""

import time
from collections.abc import Iterator

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.deps import StoreDep
from service.api.reserved_threads import threads_of
from service.api.sent import Sent
from service.states import TrialState
from service.store import cluster
from service.store.session import Store

router = APIRouter(tags=["health"])
API = "/api/v1"

_COUNTERS = {
    "stacks": "Stacks started.",
    "lanes": "Trials in the stacks started.",
    "steps": "Optimiser steps, summed over trials.",
    "rows": "Measurement rows committed.",
    "commits": "Blocks committed.",
    "commit_seconds": "Seconds spent on committing blocks.",
    "training_seconds": "Seconds that trainers spent on steps.",
    "measuring_seconds": "Seconds that trainers spent on measuring.",
    "trainers_replaced": "Trainers that died or hung.",
    "stacks_retried": "Stacks tried again after their trainer was lost.",
}
"""Counters that a dispatcher tells with its heartbeats: name -> what it counts."""


class Requests:
    """ASGI middleware: how long requests took, by method, route and status."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        self._seconds = Histogram(
            "nfa_request_seconds", "Time to answer.", ["method", "route", "status"], registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Time the request; what matches no route is counted as one."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, sent = time.perf_counter(), Sent(send)
        try:
            await self.app(scope, receive, sent)
        finally:
            self._seconds.labels(scope["method"], _route(scope), sent.status).observe(time.perf_counter() - began)


def _route(scope: Scope) -> str:
    """The template of the route that answered, which says it without the prefix that it was included under."""
    path = getattr(scope.get("route"), "path", "none")
    return API + path if scope["path"].startswith(f"{API}/") and not path.startswith(API) else path


class StoreCollector:
    """The queue and the dispatchers, read from the store at every scrape."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """Gauges of the queue, then each dispatcher's counters."""
        state = cluster.queue_state(self._store)
        trials = GaugeMetricFamily("nfa_trials", "Trials by state.", labels=["state"])
        for name, count in state.counts.items():
            trials.add_metric([name], count)
        yield trials
        yield GaugeMetricFamily(
            "nfa_queue_age_seconds", "Since the oldest waiting trial was queued.", state.age_seconds
        )
        yield GaugeMetricFamily("nfa_leases", "Leases that dispatchers hold.", state.counts[TrialState.RUNNING])
        found = cluster.list_dispatchers(self._store)
        alive = GaugeMetricFamily(
            "nfa_dispatcher_alive", "Whether it was heard of lately.", labels=["dispatcher", "host"]
        )
        slots = GaugeMetricFamily("nfa_trainers", "Trainers.", labels=["dispatcher"])
        running = GaugeMetricFamily("nfa_stack_trials", "Trials of each running stack.", labels=["dispatcher", "stack"])
        counters = {
            name: CounterMetricFamily(f"nfa_{name}", text, labels=["dispatcher"]) for name, text in _COUNTERS.items()
        }
        for one in found:
            alive.add_metric([one.id, one.host], float(one.is_alive))
            slots.add_metric([one.id], one.slots)
            for index, stack in enumerate(one.resources.get("stacks", ())):
                running.add_metric([one.id, f"{stack['stack']}-{index}"], stack["trials"])
            told = one.resources.get("counters", {})
            for name, family in counters.items():
                family.add_metric([one.id], told.get(name, 0))
        yield from (alive, slots, running, *counters.values())


@router.get("/metrics", summary="For Prometheus", response_class=Response, include_in_schema=False)
async def get_metrics(request: Request, store: StoreDep) -> Response:
    """Text of the Prometheus exposition format."""
    of_process = request.app.state.registry
    text = await run_sync(_exposition, store.ahead(), of_process, limiter=threads_of(request).probes)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _exposition(store: Store, of_process: CollectorRegistry) -> bytes:
    of_store = CollectorRegistry()
    of_store.register(StoreCollector(store))
    return generate_latest(of_store) + generate_latest(of_process)
