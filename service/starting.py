"""How processes start: they import what they need, and look for no garbage meanwhile."""

import contextlib
import gc
from collections.abc import Generator


@contextlib.contextmanager
def importing(*, at_start: bool = False) -> Generator[None]:
    """Import within: modules make objects that last and no garbage, and looking for some takes a fifth of the time.

    Args:
        at_start: of a process, which has made no garbage yet: what there is then is not looked through later either.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if at_start:
            gc.freeze()
        if before:
            gc.enable()
