"""The memory of a process that answers others for long."""

import functools
import gc


@functools.cache
def settle_heap() -> None:
    """Leave what has been imported out of every later collection; once in a process, when it has started.

    Libraries are half a million objects that stay. Looking through them all for what may go takes a tenth of a second,
    in which nobody is answered, every so often while a process warms up.
    """
    gc.collect()
    gc.freeze()
