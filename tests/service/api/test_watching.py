"""Experiments are looked at while somebody watches them, once for everybody."""

import asyncio

import pytest
from anyio import CapacityLimiter
from sqlalchemy import create_engine, text

from service.api.watching import Watching
from service.errors import NotFound, StoreUnavailable
from service.store import control, submissions


def watched(store, story):
    """Run a story that is told (watching, closing)."""

    async def told():
        closing = asyncio.Event()
        watching = Watching(store, CapacityLimiter(2), closing)
        await asyncio.wait_for(story(watching, closing), 30)
        # no look is left under way
        await asyncio.wait_for(watching.ended(), 10)

    asyncio.run(told())


def test_looks_end_with_the_last_listener_and_begin_again_with_the_next(store, expansion):
    made = submissions.create_experiment(store, expansion).id

    async def story(watching, _closing):
        for _ in range(2):
            async with watching.watch(made) as one:
                async with watching.watch(made) as same:
                    assert same is one
                await one.news(0.0, 10)
                assert one.seen.summary.id == made and not one.is_over
            await watching.ended()
            assert one.is_over

    watched(store, story)


def test_all_listeners_wake_and_who_is_slow_finds_the_latest(store, expansion):
    made = submissions.create_experiment(store, expansion).id

    async def story(watching, _closing):
        async with watching.watch(made) as one:
            await asyncio.gather(*(one.news(0.0, 10) for _ in range(100)))
            first = one.seen
            control.cancel_experiment(store, made)
            while one.seen.summary.state != "cancelled":
                await one.news(one.seen.began, 10)
            # whoever comes late waits for nothing
            await asyncio.wait_for(one.news(first.began, 10), 0.5)

    watched(store, story)


def test_an_experiment_that_is_deleted_is_seen_to_be_gone_and_one_that_never_was_is_not_found(store, expansion):
    made = submissions.create_experiment(store, expansion).id

    async def story(watching, _closing):
        async with watching.watch(made) as one:
            control.delete_experiment(store, made)
            await one.news(0.0, 10)
            assert one.seen.summary is None
        with pytest.raises(NotFound):
            await watching.look("e999")

    watched(store, story)


def test_closing_wakes_everybody_at_once(store, expansion):
    made = submissions.create_experiment(store, expansion).id

    async def story(watching, closing):
        async with watching.watch(made) as one:
            waits = asyncio.create_task(one.news(1e12, 20))
            await asyncio.sleep(0)
            closing.set()
            await asyncio.wait_for(waits, 5)
            assert one.is_over

    watched(store, story)


def test_a_look_that_fails_for_good_ends_what_was_listened_to_and_the_next_listener_begins_anew(store, expansion):
    made = submissions.create_experiment(store, expansion).id

    def rename(old, new):
        with store.write() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    async def story(watching, _closing):
        async with watching.watch(made) as one:
            rename("tally", "elsewhere")
            await one.news(0.0, 10)
            assert one.is_over and one.seen is None
            rename("elsewhere", "tally")
            async with watching.watch(made) as other:
                assert other is not one
                await other.news(0.0, 10)
                assert other.seen.summary.id == made

    watched(store, story)


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_while_the_store_is_away_nobody_is_sent_away(store, expansion):
    made = submissions.create_experiment(store, expansion).id
    database = store.url.database
    server = create_engine(store.url.set(database="postgres"), isolation_level="AUTOCOMMIT")

    async def story(watching, _closing):
        async with watching.watch(made) as one:
            await one.news(0.0, 10)
            with server.connect() as outside:
                outside.execute(text(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false'))
                mine = {"name": database}
                outside.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), mine
                )
                with pytest.raises(StoreUnavailable):
                    await watching.look(made)
                before = one.seen
                # the next look is answered by nobody
                await one.news(before.began, 10)
                assert one.seen is before and not one.is_over
                outside.execute(text(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true'))
            while one.seen is before:
                await one.news(before.began, 10)
            assert one.seen.summary.id == made

    try:
        watched(store, story)
    finally:
        with server.connect() as outside:
            outside.execute(text(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true'))
        server.dispose()
