"""Inputs over which Jacobians are averaged, other than the training set: read, told apart, checked. Pure."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from nfa_kernels import names
from service.grid.data_shapes import Arrays, DataShape

ALLOWED: Final = "train, test, {dataset: ID}, or {probes: n, seed: 0, scale: 1.0}"
MAX_INPUTS: Final = 16
_MOST_PROBES: Final = 999_999


def inputs_id(written: Any) -> str:
    """The id of inputs that are written as a word, as {dataset: ..} or as {probes: ..}. Raises ValueError."""
    if isinstance(written, str):
        found = names.read_inputs(written)
        if found is None and written != names.TRAIN:
            raise ValueError(f"must be one of {ALLOWED}")
        return written if found is None else found.id
    if not isinstance(written, Mapping):
        raise ValueError(f"must be one of {ALLOWED}")
    if list(written) == ["dataset"] and isinstance(written["dataset"], str):
        found = names.read_inputs(f"data-{written['dataset']}")
        if found is None:
            raise ValueError("dataset takes the id of an upload: 64 digits, as POST /datasets answers it")
        return found.id
    if "probes" in written and set(written) <= {"probes", "seed", "scale"}:
        return _probes(written["probes"], written.get("seed", 0), written.get("scale", 1.0))
    raise ValueError(f"must be one of {ALLOWED}")


def _probes(count: Any, seed: Any, scale: Any) -> str:
    if not _is_whole(count) or not 1 <= count <= _MOST_PROBES:
        raise ValueError(f"probes takes how many to draw, a whole number from 1 to {_MOST_PROBES}")
    if not _is_whole(seed) or not 0 <= seed < 10**18:
        raise ValueError("seed of probes must be a whole number from 0 to below 10^18")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < float("inf"):
        raise ValueError("scale of probes must be a number above 0")
    return names.Inputs("probes", "", int(count), int(seed), float(scale)).id


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


_WRITTEN: Final = {
    "anyOf": [
        {"enum": [names.TRAIN, "test"]},
        {
            "type": "string",
            "pattern": "^(data-[0-9a-f]{64}|probes-[0-9]+-[0-9]+-[0-9.e+-]+)$",
            "description": "data-ID or probes-COUNT-SEED-SCALE",
        },
        {
            "type": "object",
            "properties": {"dataset": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "ID"}},
            "required": ["dataset"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {
                "probes": {"type": "integer", "minimum": 1, "maximum": _MOST_PROBES, "description": "How many."},
                "seed": {"type": "integer", "minimum": 0, "default": 0},
                "scale": {"type": "number", "exclusiveMinimum": 0, "default": 1.0},
            },
            "required": ["probes"],
            "additionalProperties": False,
        },
    ]
}
InputsId = Annotated[str, BeforeValidator(inputs_id), WithJsonSchema(_WRITTEN)]
InputsList = Annotated[list[InputsId], Field(max_length=MAX_INPUTS)]


def further(inputs: Sequence[str]) -> list[str]:
    """Those that are not the training set, each once, in one order."""
    return sorted(set(inputs) - {names.TRAIN})


def names_on(metrics: Sequence[str], inputs: Sequence[str]) -> list[str]:
    """The ids of those metrics that read inputs, on each of these."""
    return [names.on_inputs(name, one) for one in inputs for name in metrics if names.takes_inputs(name)]


def names_measured(measure: Mapping[str, Any]) -> list[str]:
    """The ids under which a trial's numbers are stored, by its canonical `measure`."""
    own = [*measure["metrics"], *(names.alignment_id(exponent) for exponent in measure.get("exponents", ()))]
    return [*own, *names_on(own, measure.get("inputs", ()))]


def datasets_of(inputs: Sequence[str]) -> list[str]:
    """The uploads that inputs name."""
    return [found.dataset for one in inputs if (found := names.read_inputs(one)) is not None and found.dataset]


def refusal(inputs: str, shape: DataShape, datasets: Mapping[str, Arrays], most_numbers: int) -> str | None:
    """Why a network on data of this shape cannot be given these inputs; None where it can.

    Args:
        inputs: their id.
        shape: of the trial's data.
        datasets: id -> {array: shape} of uploads.
        most_numbers: in a set of inputs.
    """
    found = names.read_inputs(inputs)
    if found is not None and found.kind == "test" and not shape.test_samples:
        return "test: the data have no test set; give them test_samples, or name other inputs"
    if found is not None and found.kind == "probes":
        return _refused_probes(found, shape, most_numbers)
    return _refused_upload(found.dataset, shape, datasets) if found is not None and found.dataset else None


def _refused_probes(found: names.Inputs, shape: DataShape, most_numbers: int) -> str | None:
    if shape.vocabulary is not None:
        return f"{found.id}: probes are numbers, and the network reads {shape.told}; take test or a dataset"
    numbers = found.count * shape.inputs
    return f"{found.id}: {numbers} numbers are over the limit of {most_numbers}" if numbers > most_numbers else None


def _refused_upload(dataset: str, shape: DataShape, datasets: Mapping[str, Arrays]) -> str | None:
    arrays = datasets.get(dataset)
    if arrays is None:
        return f"no dataset {dataset}: upload the inputs with POST /datasets and give its id"
    needed = f"an array x (n, {', '.join(map(str, shape.form))}) with at least one row"
    x = tuple(arrays.get("x", ()))
    if len(x) < 2 or x[0] < 1 or x[1:] != shape.form:
        told = ", ".join(f"{name} {tuple(one)}" for name, one in arrays.items())
        return f"dataset {dataset} needs {needed} for a network that reads {shape.told}; it has {told}"
    return None
