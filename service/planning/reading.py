"""A grid's `refine` and `seeds: {until: ..}` held against what the grid varies, measures and claims. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nfa_kernels import names
from service.grid.axes import Assignment, is_mapping, read_factors, read_point
from service.grid.expansion import Expansion
from service.grid.formula_places import has_formula
from service.grid.inputs import names_measured
from service.grid.problems import Problems
from service.grid.reading import LAYERS, measured_names, setting
from service.planning.forms import Absolute, Refine, Until, read_refines, read_seeds_until
from service.planning.plan import Certainty, Plan, Search
from service.questions import filters
from service.questions.brackets import Axis, Tolerance
from service.questions.claim_forms import BoundaryFit, Claim, SlopeFit


class _Measured(NamedTuple):
    """What the points of a grid measure; nothing where it has none."""

    metrics: frozenset[str]
    layers: frozenset[int | str]
    """By number, and by name where they have some."""

    def require(self, place: str, metric: str, problems: Problems) -> None:
        """Note a metric that no point measures."""
        if self.metrics and metric not in self.metrics:
            message = f"{metric} is not measured: add it to measure.metrics"
            problems.add(place, message, received=metric, allowed=sorted(self.metrics))

    def require_layer(self, place: str, metric: str, layer: int | str, problems: Problems) -> None:
        """Note a layer that no point measures."""
        if self.layers and metric not in names.NETWORK_METRICS and layer not in self.layers:
            message = f"layer {layer} is not measured: add it to measure.layers"
            problems.add(place, message, received=layer, allowed=sorted(self.layers, key=str))


def read_plan(
    document: Mapping[str, Any], expansion: Expansion, claims: Sequence[Claim], problems: Problems
) -> Plan | None:
    """What a grid asks to be found; None where it asks for nothing, or after noting what is wrong.

    Args:
        document: the grid as it was submitted.
        expansion: of it, its first round.
        claims: of it, read.
        problems: to note what is wrong in.
    """
    forms = read_refines(document.get("refine"), problems)
    until = read_seeds_until(document.get("seeds"), problems)
    if not forms and until is None:
        return None
    measured = _measured(expansion)
    varied = _varied(document, problems)
    read = _read_by([form for _, form in forms])
    searches = [_search(place, form, read, expansion, claims, varied, measured, problems) for place, form in forms]
    certainty = None
    if until is not None:
        measured.require("seeds.until.metric", until.until.metric, problems)
        measured.require_layer("seeds.until.layer", until.until.metric, until.until.layer, problems)
        certainty = Certainty(
            _asked(until.until), until.until.agg == "share", until.until.ci95, until.at_least, until.at_most
        )
    found = tuple(search for search in searches if search is not None)
    if problems or not (found or certainty):
        return None
    return Plan(found, certainty, varied, expansion.seeds)


def _measured(expansion: Expansion) -> _Measured:
    points = {(one.part_text("measure"), one.layers): one for one in expansion.points}.values()
    settings: list[dict[str, Any]] = [{"measure": point.part("measure"), LAYERS: point.layers} for point in points]
    metrics = {name for one in settings for name in names_measured(one["measure"])}
    layers = {layer for one in settings for both in measured_names(one).items() for layer in both}
    return _Measured(frozenset(metrics), frozenset(layer for layer in layers if layer is not None))


def _search(
    place: str,
    form: Refine,
    read: Claim,
    expansion: Expansion,
    claims: Sequence[Claim],
    varied: tuple[str, ...],
    measured: _Measured,
    problems: Problems,
) -> Search | None:
    paths = form.axes
    bases = [_base(place, path, expansion, problems) for path in paths]
    if len(set(paths)) < len(paths):
        problems.add(f"{place}.axis", "names the same axis twice", received=list(paths), allowed=list(expansion.axes))
    per = form.per if form.per is not None else [path for path in varied if path not in paths]
    for path in per:
        if path in paths:
            problems.add(f"{place}.per", "is the axis that is followed", received=path, allowed=list(varied))
        elif path not in varied and path != "seed":
            problems.add(f"{place}.per", "is not varied by this grid", received=path, allowed=[*varied, "seed"])
    asks = _statement(place, form, read, claims, measured, problems)
    axes = [_axis(place, form, path, base, expansion, problems) for path, base in zip(paths, bases, strict=True)]
    if asks is None or any(base is None for base in bases):
        return None
    return Search(
        place=place,
        paths=paths,
        axes=tuple(axes),
        bases=tuple(tuple(sorted(base or ())) for base in bases),
        per=tuple(per),
        asks=asks,
        where=form.where,
        share=form.share,
        halvings=None if form.halvings == "auto" else form.halvings,
        rounds=form.rounds,
        at_most=form.at_most,
    )


def _base(place: str, path: str, expansion: Expansion, problems: Problems) -> list[float] | None:
    """The values of an axis to begin with."""
    if path not in expansion.axes:
        problems.add(f"{place}.axis", "is no axis of this grid", received=path, allowed=list(expansion.axes))
        return None
    values = expansion.axes[path]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        message = "has values that are no numbers: between words there is nothing to try"
        problems.add(f"{place}.axis", message, received=path, allowed="an axis of numbers")
        return None
    if len(values) < 2:
        problems.add(f"{place}.axis", "has one value: give two, between which the boundary lies", received=path)
        return None
    return [float(value) for value in values]


def _axis(
    place: str, form: Refine, path: str, base: list[float] | None, expansion: Expansion, problems: Problems
) -> Axis:
    lowest = min(base or [1.0])
    if form.scale == "log" and lowest < 0:
        problems.add(f"{place}.scale", f"log needs values that are not negative; {path} has {lowest:g}", received="log")
    size, is_relative = form.tolerance, True
    if isinstance(size, Absolute):
        size, is_relative = size.absolute, False
    values = [setting(point.settings, path) for point in expansion.points]
    is_whole = all(isinstance(value, int) for value in values if value is not None)
    # an axis that reaches zero: a share of its largest value is narrow enough there
    least = size * max(map(abs, base or [1.0])) if is_relative and lowest <= 0 else 0.0
    return Axis(form.scale or ("log" if lowest > 0 else "linear"), Tolerance(size, is_relative, least), is_whole)


def _read_by(forms: Sequence[Refine]) -> Claim:
    """A claim that reads, of every trial, the final values that any of these filters is about."""
    paths = sorted({path for form in forms for path in filters.paths(filters.parse(form.where or ""))})
    # its filter is never asked: the words in it say which final values are read
    words = " or ".join(f"{path} is null" for path in paths if filters.split_final(path))
    read = Claim.model_validate({"id": Plan.told, "metric": "train_loss", "every_trial": ">= 0", "gate": "none"})
    return read.model_copy(update={"where": words})


def _statement(
    place: str, form: Refine, asks: Claim, claims: Sequence[Claim], measured: _Measured, problems: Problems
) -> Claim | None:
    """The claim that is judged at every value."""
    if form.claim is not None:
        known = {claim.id: claim for claim in claims if not isinstance(claim.fit, SlopeFit | BoundaryFit)}
        if form.claim not in known:
            message = "is no claim of this grid that one value of the axis can decide"
            problems.add(f"{place}.claim", message, received=form.claim, allowed=list(known))
        return known.get(form.claim)
    for path in sorted(filters.paths(filters.parse(form.where or ""))):
        final = filters.split_final(path)
        if final is not None:
            measured.require(f"{place}.where", final[0], problems)
            if final[1] is not None:
                measured.require_layer(f"{place}.where", final[0], final[1], problems)
    return asks


def _asked(until: Until) -> Claim:
    """A claim that reads the metric of every trial."""
    return Claim.model_validate(
        {
            "id": "until of seeds",
            "metric": until.metric,
            "layer": until.layer,
            "reduce": until.reduce,
            "every_trial": until.condition or ">= 0",
            "gate": "none",
        }
    )


def _varied(document: Mapping[str, Any], problems: Problems) -> tuple[str, ...]:
    """Paths of every single setting that axes, zip groups and included points assign; formulas there are noted.

    A point that is added is given what its neighbours have at these paths, which would be their formula's number.
    """
    quiet = Problems()
    factors = read_factors(document.get("axes") or {}, document.get("zip") or (), quiet)
    included = [read_point(entry, "include", quiet) for entry in document.get("include") or ()]
    choices = [choice for factor in factors for choice in factor.choices] + included
    if document.get("refine"):
        for part in (part for choice in choices for part in choice if has_formula(part.value)):
            message = "follows from other settings, and would not at the values that a search adds: put it under trial"
            problems.add(part.origin, message, received=part.value)
    drawn = (document.get("sample") or {}).get("ranges") or {}
    return tuple(dict.fromkeys([*(path for choice in choices for part in choice for path in _leaves(part)), *drawn]))


def _leaves(part: Assignment) -> Iterator[str]:
    """A path to one setting, or those below a mapping that is merged."""
    waiting: list[tuple[str, Any]] = [(part.path, part.value)]
    while waiting:
        path, value = waiting.pop(0)
        if is_mapping(path) and isinstance(value, Mapping):
            waiting += [(f"{path}.{key}", inner) for key, inner in value.items()]
        else:
            yield path
