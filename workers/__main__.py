"""`python -m workers`: one dispatcher, until SIGTERM or SIGINT."""

import faulthandler
import sys
import threading

import structlog
from pydantic import ValidationError

from service.logs import log_as_json_lines
from service.settings import in_words
from service.starting import importing
from workers.environment import prepare
from workers.settings import WorkerSettings


def main() -> int:
    """Run a dispatcher; the exit code is 0 after a stop that was asked for."""
    faulthandler.enable()
    log_as_json_lines()
    try:
        settings = WorkerSettings()
    except ValidationError as error:
        structlog.get_logger().error("dispatcher_stopped", error=in_words(error))
        return 1
    stop = threading.Event()
    prepare(settings.token_path, settings.ray_address)
    # Ray reads its environment while it is imported, so not before `prepare`
    with importing(at_start=True):
        from workers.run import run  # noqa: PLC0415

    return run(settings, stop)


if __name__ == "__main__":
    sys.exit(main())
