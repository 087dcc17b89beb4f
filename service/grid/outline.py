"""The outermost level of a grid: its keys, seeds and trial block, and how many trials it may stand for. Pure."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import InvalidGrid
from service.grid.axes import FIELDS, SECTIONS, Factor
from service.grid.fitting import Limits
from service.grid.notify import MAX_HOOKS
from service.grid.problems import MANY_KEYS, Problems, deepest, without_most

MAX_CLAIMS: Final = 200
MAX_SEED: Final = 2**63 - 1
ENUMERATED_PER_TRIAL: Final = 10
"""Points looked at before `exclude` drops some, as a multiple of the trials an experiment may have."""
FEWEST_SEEDS: Final = 5
"""Seeds of the first round where more are added until an interval is narrow enough."""
_DATASET_KEYS: Final = ("dataset_id", "weights_id", "dataset", "inputs")
_CONTAINERS: Final = (dict, list, tuple)

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Tag = Annotated[str, Field(min_length=1, max_length=100)]


class Grid(BaseModel):
    """The body of POST /experiments: what to train, over which settings and seeds, and what is claimed."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    name: str = Field("untitled", min_length=1, max_length=200, description="What the experiment is called.")
    notes: str = Field("", max_length=20_000, description="Free text.")
    tags: list[Tag] = Field([], max_length=50, description="Words to find it by.")
    priority: int = Field(0, ge=-1_000_000, le=1_000_000, description="Higher runs first.")
    trial: dict[str, Any] = Field({}, description="Settings of every trial; the defaults where nothing is said.")
    axes: dict[str, Any] = Field({}, max_length=64, description="Dotted path -> values; the product is run.")
    zip: list[Any] = Field([], max_length=64, description="Groups of axes that move together.")
    sample: dict[str, Any] | None = Field(None, description="Points drawn from ranges: count, method, seed, ranges.")
    exclude: list[Any] = Field([], max_length=1000, description="Drops the points that match all keys of an entry.")
    include: list[Any] = Field([], max_length=10_000, description="Adds a point: the trial block plus these keys.")
    seeds: int | Annotated[list[Seed], Field(fail_fast=True)] | dict[str, Any] = Field(
        1, description="n for 0 .. n-1, a list, or {until: ..}, which adds some until an interval is narrow."
    )
    refine: list[Any] | dict[str, Any] = Field([], description="Statements whose boundaries are to be found.")
    notify: list[Any] = Field(
        [], max_length=MAX_HOOKS, description="Who is told: {url, on: [end, failed, verdict]}, by signed POST requests."
    )
    claims: list[Any] = Field([], max_length=MAX_CLAIMS, description="Statements with thresholds that are judged.")


def read_grid(document: Mapping[str, Any], problems: Problems) -> Grid:
    """The outermost level of the document; a key with nothing after it says nothing, and neither does a wrong one."""
    if len(document) > MANY_KEYS:
        for key in itertools.islice((one for one in document if one not in Grid.model_fields), MANY_KEYS):
            problems.unknown(str(key), "key", key, Grid.model_fields)
    given = {key: value for key, value in document.items() if value is not None}
    try:
        return Grid.model_validate(without_most(given, Grid.model_fields))
    except ValidationError as error:
        wrong = error.errors(include_url=False)
    for path, detail in deepest([(_grid_path(detail["loc"]), detail) for detail in wrong]):
        problems.add_pydantic(detail, path, Grid.model_fields)
    # the rest is read as if the wrong keys were not there, so that what is wrong with it is told too
    refused = {detail["loc"][0] for detail in wrong}
    return Grid.model_validate({key: given[key] for key in Grid.model_fields if key in given and key not in refused})


def _grid_path(location: Sequence[int | str]) -> str:
    """Path of a pydantic location in the outermost level: a key and perhaps an index."""
    return str(location[0]) + "".join(f"[{part}]" for part in location[1:] if isinstance(part, int))


def read_seeds(written: int | list[int] | Mapping[str, Any], limits: Limits, problems: Problems) -> tuple[int, ...]:
    """The seeds to begin with, in order; none after noting what is wrong."""
    if isinstance(written, Mapping):
        fewest = written.get("at_least", FEWEST_SEEDS)
        # whatever else is wrong with it is told by who reads the rule
        written = fewest if isinstance(fewest, int) and fewest >= 1 else FEWEST_SEEDS
    if isinstance(written, int):
        if not written >= 1:
            problems.add("seeds", "at least one seed is needed", received=written, allowed=">= 1, or a list")
        elif written > limits.trials_per_experiment:
            too_many(written, limits, problems, path="seeds")
        else:
            return tuple(range(written))
        return ()
    if not written:
        problems.add("seeds", "at least one seed is needed", received=written, allowed="a number, or a list")
    first: dict[int, int] = {}
    for index, seed in enumerate(written):
        if problems.full:
            break
        if seed in first:
            problems.add(f"seeds[{index}]", f"is the same as seeds[{first[seed]}]", received=seed)
        first.setdefault(seed, index)
    return tuple(written)


def read_trial(trial: Mapping[str, Any], problems: Problems) -> dict[str, Mapping[str, Any]]:
    """The trial block by section, empty where it says nothing."""
    blocks: dict[str, Mapping[str, Any]] = {name: {} for name in SECTIONS}
    for name, block in trial.items():
        if name not in SECTIONS:
            problems.unknown(f"trial.{name}", "key", name, SECTIONS)
        elif block is not None and not isinstance(block, Mapping):
            problems.add(f"trial.{name}", "must be a mapping", received=block, allowed=list(FIELDS[name]))
        else:
            blocks[name] = block or {}
    return blocks


def check_lengths(grid: Grid, limits: Limits) -> None:
    """Refuse more values than any grid may have, before a choice is made of each of them."""
    groups = [{path: values} for path, values in grid.axes.items()]
    groups += [group for group in grid.zip if isinstance(group, Mapping)]
    points = math.prod(
        max((len(values) for values in group.values() if isinstance(values, list)), default=1) or 1 for group in groups
    )
    if points > limits.trials_per_experiment * (ENUMERATED_PER_TRIAL if grid.exclude else 1):
        problems = Problems()
        too_many(points, limits, problems)
        problems.raise_as(InvalidGrid)


def check_count(factors: Sequence[Factor], included: int, has_exclusions: bool, seeds: int, limits: Limits) -> None:
    """Refuse a grid that is too large before any point is built."""
    points = math.prod(len(factor.choices) for factor in factors) + included
    allowed = limits.trials_per_experiment * (ENUMERATED_PER_TRIAL if has_exclusions else 1)
    if points * seeds > allowed and not (has_exclusions and points <= allowed):
        problems = Problems()
        too_many(points * seeds, limits, problems)
        problems.raise_as(InvalidGrid)


def too_many(count: int, limits: Limits, problems: Problems, path: str = "axes") -> None:
    """Note that a grid stands for more trials than an experiment may have."""
    limit = limits.trials_per_experiment
    told = f"{count}" if count < 10**12 else f"{float(count):.0e}" if count < 10**300 else "more than 1e300"
    problems.add(path, f"{told} trials are over the limit of {limit} per experiment", received=told, allowed=limit)


def dataset_ids(document: Mapping[str, Any]) -> set[str]:
    """Every dataset that a grid names: what its expansion must be given the shapes of."""
    found: set[str] = set()
    waiting: list[tuple[bool, Any]] = [(False, document)]
    while waiting:
        names_some, value = waiting.pop()
        if isinstance(value, dict):
            for key, part in value.items():
                names_one = str(key).endswith(_DATASET_KEYS) and str(key).rpartition(".")[2] in _DATASET_KEYS
                if isinstance(part, _CONTAINERS):
                    waiting.append((names_one, part))
                elif names_one and isinstance(part, str):
                    found.add(part.removeprefix("data-"))
        else:
            # what is empty names nothing, and half a million of them take a while
            waiting += [(names_some, part) for part in value if part and isinstance(part, _CONTAINERS)]
            if names_some:
                found.update(part.removeprefix("data-") for part in value if isinstance(part, str))
    return found
