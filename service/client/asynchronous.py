"""The client for asyncio: each call of the blocking one, awaited. Nothing of what they do is written twice.

from service.client import AsyncClient

async with AsyncClient() as client:
    submitted = await client.submit_preset("weight-decay")
    await client.wait(submitted.id)
    tables = await asyncio.gather(*(client.results(submitted.id, metric=[one]) for one in ("alignment", "train_loss")))
"""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar

from service.client.awaiting import Carrier, driven, pause
from service.client.client import Client, transport_to
from service.client.transport import Transport

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_END: Final = object()


class _Blocking(Client):
    """The blocking client over a transport that hands its waits to the event loop."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport


class _Awaited(Generic[_Given, _Result]):
    """A method of Client as a coroutine of AsyncClient, with the same arguments and the same result."""

    def __init__(self, method: Callable[Concatenate[Client, _Given], _Result]) -> None:
        self._method = method
        self.__wrapped__, self.__doc__ = method, method.__doc__

    def __get__(
        self, client: "AsyncClient", owner: type["AsyncClient"] | None = None
    ) -> Callable[_Given, Coroutine[Any, Any, _Result]]:
        @functools.wraps(self._method)
        async def call(*given: _Given.args, **named: _Given.kwargs) -> _Result:
            return await driven(lambda: self._method(client.blocking, *given, **named))

        return call


class _Streamed(Generic[_Given, _Result]):
    """A method of Client that yields, as one whose items are awaited; pages are fetched as they are needed."""

    def __init__(self, method: Callable[Concatenate[Client, _Given], Iterator[_Result]]) -> None:
        self._method = method
        self.__wrapped__, self.__doc__ = method, method.__doc__

    def __get__(
        self, client: "AsyncClient", owner: type["AsyncClient"] | None = None
    ) -> Callable[_Given, AsyncIterator[_Result]]:
        @functools.wraps(self._method)
        async def stream(*given: _Given.args, **named: _Given.kwargs) -> AsyncIterator[_Result]:
            items = self._method(client.blocking, *given, **named)
            while (item := await driven(lambda: next(items, _END))) is not _END:
                yield item  # ty: ignore[invalid-yield]

        return stream


class AsyncClient:
    """A service and what can be asked of it, from asyncio: calls of `Client`, with its arguments, results and errors.

    Lists that come in pages (`trials`, `experiments`, `datasets`) are read by `async for`; all else is awaited. Any
    number of calls may be under way at once, on one event loop. A call that is cancelled closes its connection; what it
    asked for may have been done. Files are written, and tables built, between the waits.

    Args:
        url: where the service is; default: NFA_URL, or this machine.
        token: sent as a bearer token; default: NFA_TOKEN.
        timeout_seconds: how long one answer may take.
        retries: how often a call is repeated when the service does not answer or is not ready.
        is_direct: never through a proxy, whatever the environment says.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        retries: int = 4,
        is_direct: bool = False,
    ) -> None:
        self.blocking: Client = _Blocking(
            transport_to(url, token, timeout_seconds, retries, is_direct=is_direct, sleep=pause, carrier=Carrier)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """Where the service is."""
        return self.blocking.url

    close = _Awaited(Client.close)
    ready = _Awaited(Client.ready)

    submit = _Awaited(Client.submit)
    submit_preset = _Awaited(Client.submit_preset)
    preview = _Awaited(Client.preview)
    wait = _Awaited(Client.wait)
    cancel = _Awaited(Client.cancel)
    pause = _Awaited(Client.pause)
    resume = _Awaited(Client.resume)
    retry = _Awaited(Client.retry)
    extend = _Awaited(Client.extend)
    thin = _Awaited(Client.thin)
    delete = _Awaited(Client.delete)

    experiments = _Streamed(Client.experiments)
    experiment = _Awaited(Client.experiment)
    change = _Awaited(Client.change)
    views = _Awaited(Client.views)
    save_view = _Awaited(Client.save_view)
    delete_view = _Awaited(Client.delete_view)

    results = _Awaited(Client.results)
    curves = _Awaited(Client.curves)
    phase = _Awaited(Client.phase)
    pooling = _Awaited(Client.pooling)
    differences = _Awaited(Client.differences)
    verdicts = _Awaited(Client.verdicts)
    add_claims = _Awaited(Client.add_claims)
    fits = _Awaited(Client.fits)
    rounds = _Awaited(Client.rounds)
    sweep = _Awaited(Client.sweep)
    export = _Awaited(Client.export)
    bundle = _Awaited(Client.bundle)

    trials = _Streamed(Client.trials)
    trial = _Awaited(Client.trial)
    experiments_of = _Awaited(Client.experiments_of)
    measurements = _Awaited(Client.measurements)
    weights = _Awaited(Client.weights)
    download_weights = _Awaited(Client.download_weights)
    measure = _Awaited(Client.measure)
    remeasurements = _Awaited(Client.remeasurements)
    wait_measured = _Awaited(Client.wait_measured)

    upload = _Awaited(Client.upload)
    datasets = _Streamed(Client.datasets)
    dataset = _Awaited(Client.dataset)
    delete_dataset = _Awaited(Client.delete_dataset)

    presets = _Awaited(Client.presets)
    preset = _Awaited(Client.preset)
    metric_definitions = _Awaited(Client.metric_definitions)
    cluster = _Awaited(Client.cluster)
    notifications = _Awaited(Client.notifications)
    activity = _Awaited(Client.activity)
