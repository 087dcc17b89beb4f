"""What a dispatcher has done since it started, as it tells the store with every heartbeat."""

from dataclasses import asdict, dataclass

from service.store.reports import Report


@dataclass
class Tally:
    """Counters that only grow; Prometheus reads them through the API."""

    stacks: int = 0
    lanes: int = 0
    """Trials of those stacks."""
    steps: int = 0
    """Optimiser steps, summed over trials."""
    rows: int = 0
    """Measurement rows committed, network and layer level."""
    commits: int = 0
    commit_seconds: float = 0.0
    training_seconds: float = 0.0
    measuring_seconds: float = 0.0
    trainers_replaced: int = 0
    stacks_retried: int = 0

    def committed(self, report: Report, seconds: float) -> None:
        """Count a report that was recorded."""
        self.commits += 1
        self.commit_seconds += seconds
        self.rows += report.network.num_rows + report.layers.num_rows + report.parametrised.num_rows

    def as_counters(self) -> dict[str, float]:
        """By name."""
        return {name: round(value, 3) for name, value in asdict(self).items()}
