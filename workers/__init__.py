"""Leases trials, trains them in stacks on Ray actors, records what happened; the only importer of ray."""
