"""`python -m workers`: one dispatcher, until SIGTERM or SIGINT."""

import faulthandler
import sys
import threading

from service.logs import log_as_json_lines
from workers.environment import prepare
from workers.settings import WorkerSettings


def main() -> int:
    """Run a dispatcher; the exit code is 0 after a stop that was asked for."""
    faulthandler.enable()
    log_as_json_lines()
    settings = WorkerSettings()
    stop = threading.Event()
    prepare(settings.token_path)
    # Ray reads its environment while it is imported, so not before `prepare`
    from workers.run import run  # noqa: PLC0415

    return run(settings, stop)


if __name__ == "__main__":
    sys.exit(main())
