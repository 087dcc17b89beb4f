"""A loop that stops turning ends its process."""

import subprocess
import sys

from workers.watchdog import EXIT_CODE

_LOOP = """
import threading
from workers import watchdog

class Clock:
    # stands still until it is put on; a sleeper whose time has come looks at it and sleeps again before that returns
    def __init__(self):
        self.now, self.until = 0.0, 0.0
        self.asleep, self.woken = threading.Semaphore(0), threading.Semaphore(0)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.until = self.now + seconds
        self.asleep.release()
        self.woken.acquire()

    def advance(self, seconds):
        self.now += seconds
        if self.now >= self.until:
            self.woken.release()
            self.asleep.acquire()

watchdog.time = clock = Clock()
watched = watchdog.Watchdog(10.0)
clock.asleep.acquire()
{then}
"""


def _ran(then: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _LOOP.format(then=then)]
    return subprocess.run(command, check=False, timeout=120, stdout=subprocess.PIPE, text=True)


def test_a_loop_that_turns_in_time_goes_on():
    assert _ran("for _ in range(8): watched.turn(); clock.advance(9.0)").returncode == 0


def test_a_process_ends_when_its_loop_hangs_and_not_before():
    ran = _ran("clock.advance(9.0); print('turning', flush=True); clock.advance(1.0); threading.Event().wait()")
    assert ran.returncode == EXIT_CODE
    assert ran.stdout.startswith("turning")
