"""The client for asyncio, against the service that listens: the calls of the blocking one, typed, several at a time."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, assert_type

import polars as pl
import pytest

from service.client import AsyncClient, Client, ClientError, Unreachable
from service.schemas.experiments import ExperimentBody, ExperimentDetail, Submitted
from service.schemas.trials import TrialBody


def _run(port: int, work: Callable[[AsyncClient], Coroutine[Any, Any, Any]], **more: Any) -> Any:
    async def opened() -> Any:
        async with AsyncClient(f"http://127.0.0.1:{port}", **more) as client:
            return await work(client)

    return asyncio.run(asyncio.wait_for(opened(), 60))


def test_every_call_of_the_blocking_client_is_one_of_this_with_the_same_arguments() -> None:
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            assert name in vars(AsyncClient), f"AsyncClient has no {name}: a line in service/client/asynchronous.py"
            mine = vars(AsyncClient)[name]
            assert mine.__wrapped__ is method and mine.__doc__ == method.__doc__
            yields = inspect.isgeneratorfunction(method)
            assert type(mine).__name__ == ("_Streamed" if yields else "_Awaited"), name


def test_a_sweep_is_submitted_awaited_read_and_deleted(
    port: int, train_queue: Callable[[], Any], tiny_grid: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    async def study(client: AsyncClient) -> None:
        submitted = assert_type(await client.submit(tiny_grid()), Submitted)
        waiting = asyncio.create_task(client.wait(submitted.id, poll_seconds=0.05))
        await asyncio.to_thread(train_queue)
        assert assert_type(await waiting, ExperimentDetail).state == "completed"
        trials = [assert_type(one, TrialBody) async for one in client.trials(submitted.id)]
        assert len(trials) == 6
        means, losses = await asyncio.gather(
            client.results(submitted.id, agg=["count"]), client.results(submitted.id, metric=["train_loss"])
        )
        assert assert_type(means, pl.DataFrame)["alignment_count"].to_list() == [3, 3] and losses.height == 2
        found = assert_type(client.experiments(), AsyncIterator[ExperimentBody])
        assert [one.id async for one in found] == [submitted.id]
        assert await client.export(submitted.id, tmp_path / "all.parquet") == (tmp_path / "all.parquet").stat().st_size
        assert (await client.sweep(submitted.id)).equals(pl.read_parquet(tmp_path / "all.parquet"))
        await client.delete(submitted.id)
        with pytest.raises(ClientError, match=submitted.id) as refused:
            await client.experiment(submitted.id)
        assert refused.value.status == 404

    _run(port, study)


def test_many_calls_are_under_way_at_once(
    port: int, train_queue: Callable[[], Any], tiny_grid: Callable[..., dict[str, Any]]
) -> None:
    async def waited(client: AsyncClient) -> None:
        submitted, looked = await client.submit(tiny_grid()), set[int]()
        all_looked = asyncio.Event()

        def look(place: int, seen: ExperimentDetail) -> None:
            assert seen.grid == tiny_grid()
            looked.add(place)
            if len(looked) == 20:
                all_looked.set()

        def waiting(place: int) -> Coroutine[Any, Any, ExperimentDetail]:
            return client.wait(submitted.id, progress=lambda one: look(place, one), poll_seconds=0.1)

        waits = [asyncio.create_task(waiting(place)) for place in range(20)]
        await all_looked.wait()
        assert not any(one.done() for one in waits)
        await asyncio.to_thread(train_queue)
        assert {one.state for one in await asyncio.gather(*waits)} == {"completed"}

    _run(port, waited)


def test_a_wait_lets_others_go_on_and_ends_when_it_is_cancelled(
    port: int, tiny_grid: Callable[..., dict[str, Any]]
) -> None:
    async def cancelled(client: AsyncClient) -> None:
        submitted = await client.submit(tiny_grid())
        seen = asyncio.Event()
        waiting = asyncio.create_task(client.wait(submitted.id, progress=lambda _: seen.set(), poll_seconds=60))
        await seen.wait()
        assert (await client.experiment(submitted.id)).state == "queued"
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(TimeoutError, match="goes on"):
            await client.wait(submitted.id, timeout_seconds=0, poll_seconds=0.01)

    _run(port, cancelled)


def test_who_does_not_answer_is_asked_again_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked(client: AsyncClient) -> None:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(beat())
        start = time.monotonic()
        with pytest.raises(Unreachable, match="nfa up"):
            await client.presets()
        assert time.monotonic() - start > 0.1 and beats > 3
        other.cancel()

    _run(9, asked, retries=1, is_direct=True)
