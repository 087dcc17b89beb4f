"""What an error of a command comes to: one line and an exit code."""

import sys
from typing import NoReturn

from pydantic import ValidationError

from service.cli.display import print_error, print_problem
from service.cli.exits import Exit, Stop
from service.client.transport import ClientError, Unreachable
from service.errors import NotFound, ServiceError
from service.settings import Settings, in_words


def ended(error: Exception) -> NoReturn:
    """Say what went wrong and exit.

    Raises:
        Exception: the same error, where it is a fault of ours.
    """
    match error:
        case Stop():
            print_error(str(error))
            sys.exit(error.code)
        case Unreachable():
            print_error(str(error))
            sys.exit(Exit.UNREACHABLE)
        case ClientError():
            print_problem(error)
            sys.exit(Exit.USAGE if error.status in (413, 415, 422) else Exit.REFUSED)
        case ValidationError() if error.title == Settings.__name__:
            print_error(in_words(error))
            sys.exit(Exit.USAGE)
        case ServiceError():
            print_error(error.detail)
            sys.exit(Exit.USAGE if isinstance(error, NotFound) else Exit.REFUSED)
        case _:
            raise error
