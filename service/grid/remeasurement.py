"""What is asked of weights that were kept: which metrics, at which layers and steps. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from nfa_kernels import names
from service.errors import InvalidRequest
from service.grid.canonical import compact, sha256_of
from service.grid.data_settings import DataSettings
from service.grid.data_shapes import Arrays, Misfit, data_shape, known_shape
from service.grid.fitting import Limits
from service.grid.inputs import InputsList, further, names_measured, names_on, refusal
from service.grid.measured_steps import measured_steps
from service.grid.problems import Problems, deepest, without_most
from service.grid.reading import layer_names, layer_number, setting
from service.grid.setting_types import PositiveList, Ranges, Section, StepList, WholeRanges
from service.grid.trial_settings import ALWAYS_MEASURED, LayerName, LayerNumber, MeasureSettings, MetricId

Asked = dict[str, Any]
"""Canonical form: metrics, exponents, at and, where they are not each trial's own, layers."""
MAX_STEPS: Final = 64
_FORMS: Final = {
    "metrics": 'default, all, or a list of ids, as ["pearson"]',
    "layers": "first, all, or a list of numbers and names of layers, or null for each trial's own",
    "at": f"all, final, or a list of 1 to {MAX_STEPS} steps",
}
"""What a field with several forms may hold."""


class Remeasuring(Section):
    """The body of `POST /experiments/{id}/measure`."""

    metrics: Literal["default", "all"] | Annotated[list[MetricId], Field(max_length=256, fail_fast=True)] = Field(
        [], description="default, all, or a list of ids; families as agop_singular_value@1."
    )
    layers: (
        Literal["first", "all"] | Annotated[list[LayerNumber | LayerName], Field(min_length=1, fail_fast=True)] | None
    ) = Field(None, max_length=1000, description="first, all, or numbers and names; null: a trial's own.")
    exponents: Annotated[PositiveList, Ranges] = Field([], max_length=256, description="For alignment@a.")
    inputs: Annotated[InputsList, Field(min_length=1)] = Field(
        [names.TRAIN], description="Over which the AGOP is averaged: train, test, {dataset: ID}, {probes: n}."
    )
    at: Literal["all", "final"] | Annotated[StepList, WholeRanges, Field(min_length=1, max_length=MAX_STEPS)] = Field(
        "all", description="Of the steps whose weights were kept: all, final (a trial's last step), or a list."
    )

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.metrics and not self.exponents:
            raise ValueError("name at least one metric under metrics, or an exponent under exponents")
        if names.TRAIN not in self.inputs and isinstance(self.metrics, list):
            wrong = [name for name in self.metrics if not names.takes_inputs(name)]
            if wrong:
                allowed = ", ".join(sorted(names.ON_INPUTS))
                raise ValueError(f"{wrong[0]} does not depend on inputs other than train: name train too; {allowed} do")
        return self

    def asked(self) -> Asked:
        """The canonical form."""
        measured = MeasureSettings(metrics=self.metrics, exponents=self.exponents)
        unasked = frozenset(ALWAYS_MEASURED).difference(self.metrics) if isinstance(self.metrics, list) else ()
        found: Asked = {
            "metrics": [name for name in measured.measured_metrics if name not in unasked],
            "exponents": measured.measured_exponents,
            "at": self.at if isinstance(self.at, str) else sorted(set(self.at)),
        }
        if self.layers is not None:
            found["layers"] = self.layers
        if set(self.inputs) != {names.TRAIN}:
            found["inputs"] = [*([names.TRAIN] if names.TRAIN in self.inputs else []), *further(self.inputs)]
        return found


def read_remeasuring(written: Any) -> Remeasuring:
    """Validate a body. Raises InvalidRequest, with one entry per wrong field."""
    problems, known = Problems(), list(Remeasuring.model_fields)
    try:
        return Remeasuring.model_validate(without_most(written, known) if isinstance(written, Mapping) else written)
    except ValidationError as error:
        wrong = error.errors(include_url=False)
    if not isinstance(written, Mapping):
        problems.add("metrics", f"the body must be a mapping of {', '.join(known)}", received=written, allowed=known)
    for path, detail in deepest([(_path(detail["loc"]), detail) for detail in wrong]):
        if path in _FORMS and detail["type"] != "value_error":
            problems.add(path, f"must be {_FORMS[path]}", received=detail["input"], allowed=_FORMS[path])
        elif isinstance(written, Mapping):
            problems.add_pydantic(detail, path, known)
    problems.raise_as(InvalidRequest)
    raise AssertionError("an error of pydantic's has an entry")


def _path(location: Sequence[int | str]) -> str:
    """A field and perhaps an index; all else marks branches of unions."""
    return str(location[0] if location else "metrics") + "".join(
        f"[{part}]" for part in location[1:] if isinstance(part, int)
    )


def names_asked(asked: Mapping[str, Any]) -> list[str]:
    """The ids that numbers are stored under: members of families written out, on every one of the inputs."""
    own = [*asked["metrics"], *(names.alignment_id(exponent) for exponent in asked["exponents"])]
    inputs = asked.get("inputs", [names.TRAIN])
    return [*(own if names.TRAIN in inputs else ()), *names_on(own, further(inputs))]


def inputs_of(asked: Mapping[str, Any]) -> tuple[str, ...]:
    """Ids of the inputs that are asked about."""
    return tuple(asked.get("inputs", (names.TRAIN,)))


def refused_inputs(asked: Mapping[str, Any], document: Mapping[str, Any], datasets: Mapping[str, Arrays]) -> str | None:
    """Why a trial with these settings cannot be given the inputs; None where it can."""
    inputs, data = further(inputs_of(asked)), document["data"]
    if not inputs:
        return None
    is_uploaded = data["kind"] == "uploaded"
    shape = data_shape(DataSettings.model_validate(data), datasets) if is_uploaded else known_shape(data)
    if isinstance(shape, Misfit):
        return f"{shape.path} {shape.message}"
    reasons = (refusal(one, shape, datasets, Limits().numbers_per_dataset) for one in inputs)
    return next((reason for reason in reasons if reason is not None), None)


def definitions_of(metrics: Collection[str]) -> dict[str, int]:
    """Id -> version of its definition today."""
    return {name: found.version for name in metrics if (found := names.definition_of(name)) is not None}


def newer_definitions(measure: Mapping[str, Any]) -> dict[str, int]:
    """Of what a trial measures, by its canonical `measure`, the versions that are not the first; kept with its numbers.

    A trial that names none was measured by the first version of each.
    """
    return {name: version for name, version in definitions_of(names_measured(measure)).items() if version != 1}


def digest_of(asked: Mapping[str, Any], definitions: Mapping[str, int]) -> str:
    """What two requests share that measure the same, but for the steps that are told trial by trial."""
    return sha256_of(compact({**{name: value for name, value in asked.items() if name != "at"}, "by": definitions}))


def layers_asked(asked: Mapping[str, Any], document: Mapping[str, Any]) -> list[int]:
    """Numbers of the layers to measure in a trial with these settings, sorted; those it has not are left out."""
    layers = asked.get("layers")
    if layers is None:
        return list(document["measure"]["layers"])
    if layers == "first":
        return [1]
    if layers == "all":
        return list(range(1, (len(layer_names(document)) or setting(document, "network.depth") or 0) + 1))
    return sorted({number for layer in layers if (number := layer_number(document, layer)) is not None})


def steps_asked(asked: Mapping[str, Any], kept: Sequence[int], last_step: int | None) -> list[int]:
    """Of a trial's kept steps those to measure."""
    at = asked["at"]
    if at == "all":
        return list(kept)
    return [step for step in kept if step == last_step] if at == "final" else [step for step in kept if step in at]


def needs_layers(asked: Mapping[str, Any]) -> bool:
    """Whether something of a layer is asked for."""
    return any(name not in names.NETWORK_METRICS for name in names_asked(asked))


def is_measured(
    asked: Mapping[str, Any], document: Mapping[str, Any], definitions: Mapping[str, int], steps: Collection[int]
) -> bool:
    """Whether all of it was measured at these steps while the trial was trained, by the same definitions.

    Args:
        asked: canonical.
        document: canonical settings of the trial.
        definitions: of what was measured in training, where their version was not 1.
        steps: to measure.
    """
    measure = document["measure"]
    today = definitions_of(names_asked(asked))
    if not set(names_measured(measure)).issuperset(today):
        return False
    if any(definitions.get(name, 1) != version for name, version in today.items()):
        return False
    if needs_layers(asked) and not set(layers_asked(asked, document)).issubset(measure["layers"]):
        return False
    # the number of a measured time is a step of gradient flow
    return "steps" not in document["training"] or set(steps).issubset(measured_steps(document))
