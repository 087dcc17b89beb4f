"""Training steps compiled on this machine: many steps of a small network while it is in the processor's cache.

Everything works without them, and slower; see docs/decisions/0025.
"""
