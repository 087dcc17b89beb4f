"""The client's calls about who works and what waits."""

from service.client.calls import Calls
from service.schemas.cluster import ActivityBody, Cluster


class ClusterCalls(Calls):
    """The part of the client that looks at all experiments together."""

    def cluster(self) -> Cluster:
        """Who works on the queue."""
        return Cluster.model_validate(self._call("GET", "/cluster"))

    def activity(self) -> ActivityBody:
        """Trials that ended in the last hour, the queue by owner, failures by reason, and the time left."""
        return ActivityBody.model_validate(self._call("GET", "/cluster/activity"))
