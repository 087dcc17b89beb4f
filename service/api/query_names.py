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


def known_metrics(text: str, inputs: str = names.TRAIN) -> list[str]:
    """Metric ids out of a comma-separated list, in the form they are stored under, on these inputs."""
    read = _known_inputs(inputs)
    chosen, problems = [_stored_id(name) for name in _split(text)], Problems()
    for name in chosen:
        if names.definition_of(name) is None:
            problems.unknown("metric", "metric", name, [*names.METRICS, *names.METRIC_FAMILIES])
        elif read != names.TRAIN and not names.takes_inputs(name):
            said = f"{name} is not measured on other inputs than train: leave `inputs` away, or ask for others"
            problems.add("inputs", said, received=read, allowed=sorted(names.ON_INPUTS))
    problems.raise_as(InvalidRequest)
    return [names.on_inputs(name, read) for name in chosen]


def _known_inputs(text: str) -> str:
    found = names.read_inputs(text)
    if found is None and text != names.TRAIN:
        told = "train, test, data-ID of an upload, or probes-COUNT-SEED-SCALE as probes-1000-0-1"
        entry = {"path": "inputs", "message": f"must be one of {told}", "received": text[:200], "allowed": told}
        raise InvalidRequest(f"inputs: received {text[:100]!r}; allowed are {told}", errors=[entry])
    return text if found is None else found.id


def numeric_metrics(text: str, inputs: str = names.TRAIN) -> list[str]:
    """Metric ids whose value is a number; at least one."""
    metrics = known_metrics(text, inputs)
    if not metrics or any(names.words_of(name) for name in metrics):
        raise InvalidRequest(f"metric: received {text[:100]!r}; name metrics whose value is a number")
    return metrics


def _stored_id(name: str) -> str:
    """alignment@0.250 is stored as alignment@0.25."""
    metric, inputs = names.split_inputs(name)
    member, found = names.family_member(metric), names.read_inputs(inputs)
    own = names.alignment_id(member.parameter) if member and member.family == "alignment" else metric
    return name if inputs != names.TRAIN and found is None else names.on_inputs(own, found.id if found else names.TRAIN)


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
