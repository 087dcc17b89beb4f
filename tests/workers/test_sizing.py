"""How many trainers a cluster gets."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from service.store import cluster
from service.store.models import dispatcher
from service.store.session import utc_now
from workers.pool import Seat
from workers.settings import WorkerSettings
from workers.sharing import Sharing
from workers.sizing import Wanted, share_of, wanted_trainers


@pytest.mark.parametrize(
    ("resources", "trainers", "per_gpu", "wanted"),
    [
        ({"CPU": 16.0}, None, 1, Wanted(16, 0)),
        ({"CPU": 16.0, "GPU": 2.0}, None, 1, Wanted(14, 2)),
        ({"CPU": 16.0, "GPU": 2.0}, None, 4, Wanted(8, 8)),
        ({"CPU": 16.0, "GPU": 2.0}, 0, 1, Wanted(0, 2)),
        ({"CPU": 4.0}, 64, 1, Wanted(64, 0)),
        ({"CPU": 1.0, "GPU": 1.0}, None, 1, Wanted(0, 1)),
        ({}, None, 1, Wanted(1, 0)),
    ],
    ids=["one per CPU", "a GPU takes a CPU", "shared GPUs", "GPUs alone", "asks for more nodes", "one of each", "none"],
)
def test_a_cluster_gets_trainers_for_what_it_has(resources, trainers, per_gpu, wanted):
    assert wanted_trainers(resources, trainers, per_gpu) == wanted


@given(cpu=st.integers(0, 200), gpu=st.integers(0, 20), dispatchers=st.integers(1, 12))
def test_dispatchers_of_a_cluster_take_all_of_it_together_and_equal_parts(cpu, gpu, dispatchers):
    parts = [share_of(Wanted(cpu, gpu), place, dispatchers) for place in range(dispatchers)]
    for own, whole in ((0, cpu), (1, gpu)):
        counts = [part[own] for part in parts]
        assert sum(counts) == whole
        assert max(counts) - min(counts) <= 1


def test_a_cluster_of_one_gpu_and_one_cpu_serves_two_dispatchers():
    assert [share_of(Wanted(1, 1), place, 2) for place in (0, 1)] == [Wanted(1, 0), Wanted(0, 1)]


def _peers(store):
    return [one.id for one in cluster.peers_on(store, "one")]


def test_only_living_dispatchers_of_the_same_cluster_are_counted(store):
    for name, ray in (("a", "one"), ("b", "other"), ("c", "one"), ("d", None), ("e", "one")):
        cluster.register_dispatcher(store, name, "here", 1, 1, {} if ray is None else {cluster.RAY: ray})
    with store.write() as connection:
        connection.execute(
            update(dispatcher)
            .where(dispatcher.c.id == "a")
            .values(seen_at=utc_now() - timedelta(seconds=cluster.ALIVE_SECONDS + 1))
        )
    assert _peers(store) == ["c", "e"]
    cluster.beat(store, "a", 1, {cluster.RAY: "one"})
    assert _peers(store) == ["a", "c", "e"]
    cluster.remove_dispatcher(store, "c")
    assert _peers(store) == ["a", "e"]


@pytest.mark.parametrize("trainers", [None, 3, 64])
def test_what_other_dispatchers_have_is_what_they_say_whatever_number_was_asked_for(store, trainers):
    card = {"device": "H100", "memory_bytes": 2**36}
    told = {
        "a": [{"device": "cpu", "memory_bytes": None}] * 5,
        "b": [{"device": "cpu", "memory_bytes": None}, card, {"memory_bytes": None, "error": "no CUDA"}],
        "c": [card],
    }
    for name, abouts in told.items():
        cluster.register_dispatcher(store, name, "here", 1, 1, {cluster.RAY: "one", "trainers": abouts})
    sharing = Sharing(store, "c", WorkerSettings(trainers=trainers), "one")
    whole = wanted_trainers({"CPU": 18.0, "GPU": 3.0}, trainers, 1)
    assert sharing.part_of(whole) == Wanted(5 if trainers is None else trainers, 1)
    assert sharing.elsewhere == Wanted(6, 1)


def test_memory_is_that_of_a_trainers_gpu_once_it_is_known():
    seat = Seat(None, None, "gpu")
    assert seat.memory_bytes is None
    seat.about = {"memory_bytes": 2**36}
    assert seat.memory_bytes == 2**36
