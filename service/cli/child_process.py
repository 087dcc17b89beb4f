"""One process of the service under supervision: started, watched, restarted with growing pauses, stopped."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_STEADY_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 30.0


class ChildProcess:
    """A command that should be running.

    It runs in a session of its own, so that Ctrl-C reaches the supervisor alone, which then stops it in order; on Linux
    it gets SIGTERM when the supervisor dies without having done so.

    Args:
        name: what it is, for people.
        command: arguments after the Python interpreter.
        environment: its whole environment.
        log: file that its output is appended to.
        keep: file descriptors it inherits.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, keep: Sequence[int] = ()
    ) -> None:
        self.name, self.log = name, log
        self.restarts = 0
        self._command, self._environment, self._keep = command, environment, keep
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._due = 0.0
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How it ended, while it is down."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                # -P: a file or folder of the user's that is called service, workers or migrations is not ours
                [sys.executable, "-P", *self._command],
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self._keep,
                # the supervisor has no threads when it starts a process
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        self._started = time.monotonic()

    def tend(self) -> bool:
        """Start it again if it is down and its pause is over; answer whether it was started now."""
        if self.exit_code is None:
            return False
        now = time.monotonic()
        if not self._due:
            if now - self._started > _STEADY_SECONDS:
                self.restarts = 0
            self._due = now + min(2.0**self.restarts, _LONGEST_PAUSE_SECONDS)
        if now < self._due:
            return False
        self.restarts, self._due = self.restarts + 1, 0.0
        self.start()
        return True

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def stop(self, deadline: float) -> None:
        """Wait for its end until the deadline (time.monotonic); then end it and what it has started by SIGKILL."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def last_lines(self, count: int = 20) -> list[str]:
        """The last lines that this start of it has logged."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace").splitlines()[-count:]


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
