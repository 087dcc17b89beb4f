"""Spans of experiments, and the ids by which processes that never speak to each other make one trace. Pure.

Every experiment is a trace of its own. Its id, and that of its root, follow from the store's life and the experiment's
number, so that a dispatcher knows the parent of its stacks without asking who took the grid.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

Value = str | bool | int | float | Sequence[str] | None
ROOT: Final = "root"
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


class SpanIds(NamedTuple):
    """Which span of which trace: 16 bytes and 8."""

    trace: bytes
    span: bytes


@dataclass(frozen=True)
class Span:
    """What happened from when to when, in nanoseconds since 1970."""

    name: str
    ids: SpanIds
    parent: bytes | None
    began: int
    ended: int
    attributes: Mapping[str, Value] = field(default_factory=dict)
    """Those that are null are left out."""
    error: str | None = None
    is_request: bool = False
    caller: SpanIds | None = None
    """What it was done for, in somebody else's trace."""


def ids_of(life: str | None, experiment: int, what: str = ROOT) -> SpanIds:
    """The ids of something that happened for an experiment.

    Args:
        life: the store's incarnation; experiments of another store, or of a restored backup, are others.
        experiment: its number.
        what: its root, or a word that nothing else of it has.
    """
    whose = f"nfa {life} {experiment}"
    return SpanIds(_digest(whose, 16), _digest(f"{whose} {what}", 8))


def _digest(text: str, size: int) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:size]


def read_traceparent(header: str | None) -> SpanIds | None:
    """Who asked, as W3C Trace Context writes it; None for what is none, which that recommendation has us ignore."""
    found = _TRACEPARENT.fullmatch(header or "")
    if found is None:
        return None
    version, trace, span, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    return SpanIds(bytes.fromhex(trace), bytes.fromhex(span))
