"""Leases trials, trains them in stacks on Ray actors, records what happened; the only importer of ray.

Every process that trains does the same arithmetic, bit for bit, whatever a network is stacked with and wherever its
numbers lie in memory: without this variable MKL's matrix products depend on the alignment of their arguments, and a
rule that does not settle (Muon, RMSprop) turns a last digit into percents. It costs nothing measurable. MKL reads it
when it is first used, so it is set before anything here imports torch.
"""

import os

os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
