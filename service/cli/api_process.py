"""`python -m service.cli.api_process FD`: serves the API on a socket that the supervisor has bound.

The supervisor keeps the socket, so the port is never lost between two starts and callers wait instead of failing.
"""

import socket
import sys

import structlog
from pydantic import ValidationError

from service.logs import log_as_json_lines
from service.starting import importing


def main() -> int:
    """Serve with the settings of the environment; the exit code is 1 if they are wrong, with one line that says how."""
    log_as_json_lines()
    with importing(at_start=True):
        from service.cli.api_server import serve  # noqa: PLC0415
        from service.settings import Settings, in_words  # noqa: PLC0415
    try:
        settings = Settings()
    except ValidationError as error:
        structlog.get_logger().error("api_stopped", error=in_words(error))
        return 1
    serve(socket.socket(fileno=int(sys.argv[1])), settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
