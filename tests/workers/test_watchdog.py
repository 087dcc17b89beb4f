"""A loop that stops turning ends its process."""

import subprocess
import sys

from workers.watchdog import EXIT_CODE

_LOOP = """
import threading, time
from workers.watchdog import Watchdog
watchdog = Watchdog(0.3)
for _ in range({turns}):
    watchdog.turn()
    time.sleep(0.1)
{then}
"""


def _ran(turns: int, then: str) -> int:
    return subprocess.run(
        [sys.executable, "-c", _LOOP.format(turns=turns, then=then)], check=False, timeout=20
    ).returncode


def test_a_process_ends_when_its_loop_hangs_and_not_before():
    assert _ran(8, "") == 0
    assert _ran(1, "threading.Event().wait()") == EXIT_CODE
