"""How many trainers a dispatcher has: dispatchers of one store that use one Ray cluster share its CPUs and GPUs.

Each looks, at every heartbeat, who else lives, and takes its part; when one comes or goes, the others' parts change.
Nobody decides for the others, so that nothing is lost with anybody.
"""

from typing import Any

import ray

from service.store import cluster
from service.store.session import Store
from workers.settings import WorkerSettings
from workers.sizing import Wanted, share_of, wanted_trainers


class Sharing:
    """One dispatcher's part of its cluster."""

    def __init__(self, store: Store, identity: str, settings: WorkerSettings) -> None:
        self._store, self._identity, self._settings = store, identity, settings
        # a Ray that a dispatcher starts is its own
        self._ray = None if settings.ray_address is None else _cluster_id()
        self.elsewhere = Wanted(0, 0)
        """What the other dispatchers have, as of the last look."""

    @property
    def told(self) -> dict[str, Any]:
        """What a dispatcher says of itself with every heartbeat, for the others."""
        return {} if self._ray is None else {cluster.RAY: self._ray}

    def wanted(self) -> Wanted:
        """Trainers to have now; as many CPU trainers as were asked for, where a number was."""
        trainers = self._settings.trainers
        whole = wanted_trainers(ray.cluster_resources(), trainers, self._settings.trainers_per_gpu)
        if self._ray is None:
            return whole
        peers = cluster.peers_on(self._store, self._ray)
        if self._identity not in peers:
            peers.append(self._identity)
        own = share_of(whole, peers.index(self._identity), len(peers))
        self.elsewhere = Wanted(whole.cpu - own.cpu, whole.gpu - own.gpu)
        return own if trainers is None else own._replace(cpu=trainers)


def _cluster_id() -> str:
    """What tells the cluster that we joined from every other: the id of its head."""
    heads = (node["NodeID"] for node in ray.nodes() if "node:__internal_head__" in node["Resources"])
    return str(next(heads, ray.get_runtime_context().gcs_address))
