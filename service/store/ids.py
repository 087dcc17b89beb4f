"""Public ids: `e12` for experiments, `t345` for trials, `m6` for requests to measure again; opaque, integers inside."""

import re

from service.errors import NotFound

_FORM = re.compile(r"[1-9][0-9]{0,17}")


def experiment_id(number: int) -> str:
    """The public id of an experiment."""
    return f"e{number}"


def trial_id(number: int) -> str:
    """The public id of a trial."""
    return f"t{number}"


def remeasurement_id(number: int) -> str:
    """The public id of a request to measure kept weights again."""
    return f"m{number}"


def experiment_number(public: str) -> int:
    """The key behind a public experiment id; NotFound for anything that cannot be one."""
    return _number(public, "e", "experiment")


def trial_number(public: str) -> int:
    """The key behind a public trial id; NotFound for anything that cannot be one."""
    return _number(public, "t", "trial")


def _number(public: str, prefix: str, what: str) -> int:
    if not (public.startswith(prefix) and _FORM.fullmatch(public[1:])):
        raise NotFound(f"no {what} {public[:40]!r}: ids look like {prefix}12")
    return int(public[1:])
