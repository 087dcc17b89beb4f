"""Work counted instead of timed, the same on a busy machine; what is logged; trials trained without a dispatcher."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import structlog

# reports and training without a dispatcher lie beside the tests of the store
sys.path.insert(0, str(Path(__file__).parent / "store"))

from service.store.session import Store


@pytest.fixture
def calls() -> Callable[[Callable[[], object]], int]:
    """How many functions, of Python and of C, a call calls in this thread."""

    def counted(what: Callable[[], object]) -> int:
        found = 0

        def count(_frame: FrameType, event: str, _argument: Any) -> None:
            nonlocal found
            found += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            what()
        finally:
            sys.setprofile(None)
        return found

    return counted


@pytest.fixture
def train_queue(store: Store) -> Callable[[], None]:
    """Leases, trains and records everything that waits, in this process: the dispatcher's calls without Ray."""
    # torch takes seconds to import, which tests without training should not wait for
    from training_here import train_everything

    return lambda: train_everything(store)


@pytest.fixture
def lines():
    """What is logged meanwhile, with what a request left in its context."""
    found = []

    def keep(_logger, _method, entry):
        found.append(dict(entry))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    yield found
    structlog.configure(**before)
