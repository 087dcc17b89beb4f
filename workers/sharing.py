"""How many trainers a dispatcher has: dispatchers of one store that use one Ray cluster share its CPUs and GPUs.

Each looks, at every heartbeat, who else lives, and takes its part; when one comes or goes, the others' parts change.
Nobody decides for the others, so that nothing is lost with anybody.
"""

from typing import Any

import ray

from service.store import cluster
from service.store.session import Store
from workers.settings import WorkerSettings
from workers.sizing import Wanted, share_of, usable_trainers, wanted_trainers


class Sharing:
    """One dispatcher's part of its cluster.

    Args:
        store: where dispatchers say who they are.
        identity: its own.
        settings: how many trainers were asked for.
        cluster_id: what `cluster_of` tells of these settings.
    """

    def __init__(self, store: Store, identity: str, settings: WorkerSettings, cluster_id: str | None) -> None:
        self._store, self._identity, self._settings, self._ray = store, identity, settings, cluster_id
        self.elsewhere = Wanted(0, 0)
        """What the other dispatchers have, as they said before the last look."""

    @property
    def told(self) -> dict[str, Any]:
        """What a dispatcher says of itself with every heartbeat, for the others."""
        return {} if self._ray is None else {cluster.RAY: self._ray}

    def wanted(self) -> Wanted:
        """Trainers to have now; as many CPU trainers as were asked for, where a number was."""
        settings = self._settings
        return self.part_of(wanted_trainers(ray.cluster_resources(), settings.trainers, settings.trainers_per_gpu))

    def part_of(self, whole: Wanted) -> Wanted:
        """Its trainers of those that there is room for, and what the others have, as of now."""
        if self._ray is None:
            return whole
        peers = cluster.peers_on(self._store, self._ray)
        names = [one.id for one in peers]
        if self._identity not in names:
            names.append(self._identity)
        # asked for may be more than there is room for, or less: only they know what they have
        others = [usable_trainers(one.resources.get("trainers", ())) for one in peers if one.id != self._identity]
        self.elsewhere = Wanted(sum(one.cpu for one in others), sum(one.gpu for one in others))
        own = share_of(whole, names.index(self._identity), len(names))
        return own if self._settings.trainers is None else own._replace(cpu=self._settings.trainers)


def cluster_of(settings: WorkerSettings) -> str | None:
    """What tells the cluster that we joined from every other: the id of its head. None: a Ray of our own."""
    if settings.ray_address is None:
        return None
    heads = (node["NodeID"] for node in ray.nodes() if "node:__internal_head__" in node["Resources"])
    return str(next(heads, ray.get_runtime_context().gcs_address))
