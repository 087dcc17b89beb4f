"""Exit codes of the `nfa` command, the same for every subcommand."""

from enum import IntEnum


class Exit(IntEnum):
    """What a script can tell from the exit code."""

    OK = 0
    NO = 1
    """It ran, and the answer is no: a claim does not hold, a trial failed, a check of `nfa doctor` found something."""
    USAGE = 2
    """The command line or the grid is wrong; nothing was done."""
    UNREACHABLE = 3
    """No service answers at the address."""
    START = 4
    """The service cannot start here: port in use, folder not writable, Ray missing, database from a newer version."""
    REFUSED = 5
    """The service refused or failed: no such experiment, conflict, internal error."""
    INTERRUPTED = 130
    """Ctrl-C."""


HELP = (
    "Exit codes: 0 ok; 1 a claim does not hold, a trial failed or a check found something; "
    "2 wrong command line or grid; 3 no service answers; 4 the service cannot start here; "
    "5 the service refused; 130 interrupted."
)


class Stop(Exception):
    """Ends the command with one line and an exit code."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code
