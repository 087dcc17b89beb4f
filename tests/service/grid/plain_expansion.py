"""A grid expanded one point at a time, nothing shared: what the service's expansion is held against."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from nfa_kernels import names
from service.grid import canonical
from service.grid.axes import SECTIONS, Assignment, read_factors, read_point
from service.grid.data_shapes import DataShape, Misfit, data_shape
from service.grid.fitting import Limits, misfits
from service.grid.problems import Problems
from service.grid.sections import merge_section, value_at
from service.grid.setting_types import expanded
from service.grid.stacking import PER_LANE
from service.grid.tokens import token
from service.grid.trial_settings import TrialSettings


class Plain(NamedTuple):
    """A point, as told by everything that an expansion says of it."""

    settings: str
    """As JSON, in the order of its keys but that of sections."""
    digest: str
    stack_key: str
    shape: DataShape
    device: str
    axes: str
    """As Python writes it, so that 1 and 1.0 differ."""


def written(axes: Mapping[str, Any]) -> str:
    """Values as Python writes them; -0.0 and 0.0 are one setting, and either may stand for both."""
    return repr(axes).replace("-0.0", "0.0")


class Invalid(Exception):
    """Some point is."""


def plain_points(document: Mapping[str, Any], limits: Limits) -> list[Plain]:
    """Every point of a grid whose values are each valid by itself. Raises Invalid."""
    problems = Problems()
    factors = read_factors(document.get("axes", {}), document.get("zip", []), problems)
    included = [read_point(entry, "include", problems) for entry in document.get("include", [])]
    excluded = [read_point(entry, "exclude", problems) for entry in document.get("exclude", [])]
    assert not problems
    choices = [tuple(itertools.chain(*parts)) for parts in itertools.product(*(one.choices for one in factors))]
    every = [choice for factor in factors for choice in factor.choices] + included
    paths = list(dict.fromkeys(part.path for choice in every for part in choice))
    blocks = {name: document.get("trial", {}).get(name, {}) for name in SECTIONS}
    touched = {part.path.partition(".")[0] for choice in choices for part in choice}
    if any(model is None for name, (model, _) in _sections(blocks, ()).items() if name not in touched):
        raise Invalid
    kept = [one for one in choices if not any(_matches(blocks, one, entry) for entry in excluded)]
    found: dict[str, Plain] = {}
    for choice in [*kept, *included]:
        point = _point(blocks, choice, paths, limits)
        found.setdefault(point.digest, point)
    return list(found.values())


def _sections(blocks: Mapping[str, Any], choice: tuple[Assignment, ...]) -> dict[str, tuple[Any, Any]]:
    """Model, or None where it is invalid, and merged values of each section."""
    found = {}
    for name, model in SECTIONS.items():
        merged, _ = merge_section(blocks[name], [part for part in choice if part.path.partition(".")[0] == name])
        try:
            found[name] = model.model_validate(merged), merged
        except ValidationError:
            found[name] = None, merged
    return found


def _matches(blocks: Mapping[str, Any], choice: tuple[Assignment, ...], entry: tuple[Assignment, ...]) -> bool:
    sections = _sections(blocks, choice)
    return all(
        token(value_at(*sections[part.path.partition(".")[0]], part.path.partition(".")[0], part.path))
        == token(expanded(part.value))
        for part in entry
    )


def _point(blocks: Mapping[str, Any], choice: tuple[Assignment, ...], paths: list[str], limits: Limits) -> Plain:
    sections = _sections(blocks, choice)
    if any(model is None for model, _ in sections.values()):
        raise Invalid
    settings = TrialSettings(**{name: model for name, (model, _) in sections.items()})
    shape = data_shape(settings.data, {})
    if isinstance(shape, Misfit) or list(misfits(settings, shape, limits, {})):
        raise Invalid
    form = canonical.canonical(settings, shape)
    axes = {path: value_at(*sections[path.partition(".")[0]], path.partition(".")[0], path) for path in paths}
    text = json.dumps({name: form[name] for name in SECTIONS})
    return Plain(
        text, canonical.settings_digest(form), plain_key(form, shape), shape, settings.training.device, written(axes)
    )


def plain_key(form: Mapping[str, Any], shape: DataShape) -> str:
    """The stack key, spelt out."""
    training = form["training"]
    shared = {
        "shape": dataclasses.astuple(shape),
        "network": form["network"],
        "training": {name: value for name, value in training.items() if name not in PER_LANE},
        "measure": form["measure"],
    }
    if names.has_wide_weights(training, form["network"]["parameterization"]):
        shared["wide_weights"] = True
    if names.has_own_rates(training):
        shared["own_rates"] = True
    text = json.dumps(shared, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
