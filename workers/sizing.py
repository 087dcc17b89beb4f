"""How many trainers a Ray cluster gets, and which trials each kind may have. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

Device = Literal["cpu", "gpu"]

MAY_HAVE: Final[Mapping[Device, tuple[str, ...]]] = {"cpu": ("auto", "cpu"), "gpu": ("auto", "gpu")}
"""What the trials of a trainer may ask for in `training.device`."""


class Wanted(NamedTuple):
    """Trainers of each kind."""

    cpu: int
    gpu: int


def wanted_trainers(resources: Mapping[str, float], trainers: int | None, per_gpu: int) -> Wanted:
    """Trainers for what the cluster has now.

    A trainer on a GPU takes a CPU as well. A cluster without any CPU left is asked for one: an actor that waits is the
    demand by which an autoscaler adds nodes, as is a number of trainers larger than the cluster.

    Args:
        resources: CPU and GPU of all nodes of the Ray cluster.
        trainers: CPU trainers asked for; None: one per CPU.
        per_gpu: trainers that share a GPU.
    """
    gpu = int(resources.get("GPU", 0.0)) * per_gpu
    free = int(resources.get("CPU", 0.0)) - gpu
    if trainers is not None:
        return Wanted(trainers, gpu)
    return Wanted(max(free, 0 if gpu else 1), gpu)


def usable_trainers(told: Iterable[Mapping[str, Any]]) -> Wanted:
    """How many trainers of each kind a dispatcher has, by what they say of themselves; a GPU has memory of its own."""
    on_gpu = [one.get("memory_bytes") is not None for one in told if "error" not in one]
    return Wanted(on_gpu.count(False), on_gpu.count(True))


def share_of(wanted: Wanted, place: int, dispatchers: int) -> Wanted:
    """What one of several dispatchers of a Ray cluster takes of the trainers there is room for; together they take all.

    What does not divide goes to the first ones, of GPU trainers to the last ones.

    Args:
        wanted: by all of them together.
        place: of this one, from 0, in an order that all agree on.
        dispatchers: of the cluster, this one among them.
    """
    last = dispatchers - 1 - place
    return Wanted(_part(wanted.cpu, place, dispatchers), _part(wanted.gpu, last, dispatchers))


def _part(whole: int, place: int, parts: int) -> int:
    return whole // parts + int(place < whole % parts)
