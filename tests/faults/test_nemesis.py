"""A sweep of 300 trials while every kind of process is killed."""

import pytest
from deployment import Deployment, PostgreSQL
from nemesis import FAULTS, Nemesis, sweep


@pytest.fixture
def deployment(request, store_url, ray_cluster, tmp_path):
    """Everything that a service is made of, on the test's store and the session's Ray."""
    server = request.getfixturevalue("postgresql_server") if store_url.startswith("postgresql") else None
    made = Deployment(store_url, ray_cluster, tmp_path, server and PostgreSQL(server))
    yield made
    made.stop()


def test_nothing_is_lost_or_doubled_whatever_is_killed(deployment):
    deployment.start(dispatchers=1)
    faults = [fault for fault in FAULTS if fault != "database" or deployment.database]
    nemesis = Nemesis(deployment, sweep(steps=24_000, seeds=50), faults, pause=(0.3, 1.2))
    nemesis.run(rounds=5)
    assert nemesis.is_hit
    assert nemesis.violations() == []
