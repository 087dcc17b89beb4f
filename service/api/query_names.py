"""Checks names in query parameters; an unknown one is answered with those that exist and the nearest."""

import re

from nfa_kernels import names
from service.errors import InvalidRequest
from service.grid.problems import Problems
from service.questions import filters
from service.questions.reductions import Reduction, parse_reduction

AGGREGATES = ("mean", "std", "sem", "min", "max", "median", "count", "q05", "q25", "q75", "q95", "ci95")
_QUANTILE = re.compile(r"q[0-9]{2}")


def _split(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def known_metrics(text: str) -> list[str]:
    """Metric ids out of a comma-separated list; members of families in the form they are stored under."""
    chosen, problems = [_stored_id(name) for name in _split(text)], Problems()
    for name in chosen:
        if name not in names.METRICS and names.family_member(name) is None:
            problems.unknown("metric", "metric", name, [*names.METRICS, *names.METRIC_FAMILIES])
    problems.raise_as(InvalidRequest)
    return chosen


def numeric_metrics(text: str) -> list[str]:
    """Metric ids whose value is a number; at least one."""
    metrics = known_metrics(text)
    if not metrics or any(name in names.METRICS and names.METRICS[name].words for name in metrics):
        raise InvalidRequest(f"metric: received {text[:100]!r}; name metrics whose value is a number")
    return metrics


def _stored_id(name: str) -> str:
    """alignment@0.250 is stored as alignment@0.25."""
    member = names.family_member(name)
    return names.alignment_id(member.parameter) if member and member.family == "alignment" else name


def known_paths(text: str, parameter: str = "group_by") -> list[str]:
    """Settings paths, seed or state out of a comma-separated list."""
    chosen, problems = _split(text), Problems()
    allowed = (*filters.PATHS, "seed", "state")
    for path in chosen:
        if path not in allowed and not filters.is_setting(path):
            problems.unknown(parameter, "path", path, allowed)
    problems.raise_as(InvalidRequest)
    return chosen


def known_variable(text: str, parameter: str) -> str:
    """A path of what a trial has: a setting, seed, or final.METRIC[layer] that is a number; or nothing."""
    final = filters.split_final(text)
    if final is None:
        if len(known_paths(text, parameter)) > 1 or text == "state":
            raise InvalidRequest(
                f"{parameter}: received {text[:100]!r}; name one setting, seed, or final.METRIC[layer]"
            )
        return text
    numeric_metrics(final[0])
    return text


def known_aggregates(text: str) -> list[str]:
    """Aggregates out of a comma-separated list."""
    chosen, problems = _split(text), Problems()
    for name in chosen:
        if name not in AGGREGATES and not _QUANTILE.fullmatch(name):
            problems.unknown("agg", "aggregate", name, AGGREGATES)
    problems.raise_as(InvalidRequest)
    return chosen


def known_reduction(text: str) -> Reduction:
    """A word of `reduce`."""
    try:
        return parse_reduction(text)
    except ValueError as error:
        raise InvalidRequest(f"reduce: received {text[:100]!r}; {error}") from error
