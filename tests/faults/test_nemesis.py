"""A sweep of 300 trials while every kind of process is killed."""

from nemesis import FAULTS, Nemesis, sweep
from scale import ROUNDS, STEPS


def test_nothing_is_lost_or_doubled_whatever_is_killed(deployment):
    deployment.start(dispatchers=1)
    faults = [fault for fault in FAULTS if fault != "database" or deployment.database]
    nemesis = Nemesis(deployment, sweep(STEPS, seeds=50), faults, pause=(0.3, 1.2))
    nemesis.run(rounds=ROUNDS)
    print("\n" + "\n".join(f"  {number:2} {fault}" for number, fault in enumerate(nemesis.done, 1)))
    assert nemesis.violations() == []
