"""Sizes of a trial's data, known from its settings and from the shapes of uploaded arrays alone. Pure."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from nfa_kernels import names
from service.grid.data_settings import DataSettings

Arrays = Mapping[str, tuple[int, ...]]
"""Shapes of the arrays of an uploaded dataset by name."""


class Uploaded(dict[str, tuple[int, ...]]):
    """Shapes of the arrays of a dataset, and what can read its values.

    Args:
        shapes: of the arrays by name.
        losses: over classes that can read the targets.
        tokens: how many numbers of tokens x has; None where x is other than whole numbers (n, t).
    """

    def __init__(self, shapes: Arrays, losses: Collection[str], tokens: int | None) -> None:
        super().__init__(shapes)
        self.losses, self.tokens = losses, tokens


class Misfit(NamedTuple):
    """Something that does not fit: the path to name, and why."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class DataShape:
    """What is known of data before they are made."""

    samples: int
    """To train on."""
    form: tuple[int, ...]
    """Of one sample's input: (d,), an image (c, h, w), a sequence (t, d), or with a vocabulary tokens (t,)."""
    outputs: int
    test_samples: int
    vocabulary: int | None = None
    """Inputs are whole numbers below this; None: they are real numbers."""

    @property
    def inputs(self) -> int:
        """Numbers in one sample's input."""
        return math.prod(self.form)

    @property
    def told(self) -> str:
        """The input in words."""
        if self.vocabulary is not None:
            return f"{self.form[0]} tokens below {self.vocabulary}"
        return f"an input of shape {self.form}" if len(self.form) > 1 else f"{self.form[0]} inputs"


def known_shape(data: Mapping[str, Any]) -> DataShape:
    """The sizes of data that are made from their settings; `data` has at least those that its kind reads."""
    kind, tests = data["kind"], data.get("test_samples", 0)
    match kind:
        case "clusters":
            width = len(data["strengths"])
            return DataShape(sum(data["counts"]), (width,), width, 0)
        case "single_index" | "sparse_parity":
            return DataShape(data["samples"], (data["inputs"],), 1, tests)
        case "conv_teacher":
            return DataShape(data["samples"], (data["channels"], data["size"], data["size"]), data["outputs"], tests)
        case "modular_addition":
            return _pairs(data)
        case _ if kind in names.TABLES:
            return _table(data)
        case _:
            return DataShape(data["samples"], (data["inputs"],), data["outputs"], tests)


def _table(data: Mapping[str, Any]) -> DataShape:
    table, fraction = names.TABLES[data["kind"]], data.get("test_fraction")
    tests = names.share(table.samples, fraction) if fraction else data["test_samples"]
    if data["kind"] != "digits":
        return DataShape(table.samples - tests, (table.inputs,), table.outputs, tests)
    is_image = data.get("layout") == "image"
    return DataShape(data["samples"], (1, 8, 8) if is_image else (table.inputs,), table.outputs, tests)


def _pairs(data: Mapping[str, Any]) -> DataShape:
    """Of modular addition, in canonical form."""
    modulus = data["modulus"]
    samples = names.share(modulus**2, data["fraction"])
    tests = modulus**2 - samples
    if data["encoding"] == "one_hot":
        return DataShape(samples, (2 * modulus,), modulus, tests)
    has_sign = data["equals_sign"]
    return DataShape(samples, (2 + has_sign,), modulus, tests, modulus + has_sign)


def data_shape(data: DataSettings, datasets: Mapping[str, Arrays]) -> DataShape | Misfit:
    """The sizes of the data, or why an uploaded dataset cannot be trained on."""
    if data.kind != "uploaded":
        known = data.model_dump()
        return known_shape(known | {"fraction": data.trained_fraction})
    arrays = datasets.get(data.dataset_id or "")
    if arrays is None:
        return Misfit("data.dataset_id", "no such dataset: upload it with POST /datasets and give its id")
    told = ", ".join(f"{name} {tuple(shape)}" for name, shape in arrays.items())
    shape = _of_arrays(arrays)
    if shape is None:
        needed = "x (n, d), (n, t, d) or (n, c, h, w) and y (n, k), and x_test and y_test like them or neither"
        return Misfit("data.dataset_id", f"needs arrays {needed}, with at least one row; it has {told}")
    if data.vocabulary is not None and len(shape.form) != 1:
        return Misfit("data.vocabulary", f"says that x is tokens (n, t), which are two axes; the dataset has {told}")
    tokens = arrays.tokens if isinstance(arrays, Uploaded) else 0
    if data.vocabulary is not None and (tokens is None or tokens > data.vocabulary):
        return Misfit("data.vocabulary", _no_tokens(tokens))
    return _split(replace(shape, vocabulary=data.vocabulary), data, "x_test" in arrays)


def _no_tokens(tokens: int | None) -> str:
    """Why a vocabulary is not that of x, which has so many numbers of tokens, or none."""
    if tokens is None:
        return "says that x is tokens, whole numbers from 0; the dataset's x has others"
    return f"x holds the token {tokens - 1}, and tokens are below the vocabulary: give {tokens} or more"


def _of_arrays(arrays: Arrays) -> DataShape | None:
    """The sizes of uploaded arrays; None if some is missing or they do not fit each other."""
    try:
        (samples, *form), (rows, outputs) = arrays["x"], arrays["y"]
        (tests, *test_form), (test_rows, test_outputs) = (
            (arrays["x_test"], arrays["y_test"]) if "x_test" in arrays else ((0, *form), (0, outputs))
        )
    except (KeyError, ValueError):
        return None
    fits = (rows, test_rows, test_form, test_outputs) == (samples, tests, form, outputs)
    if not (fits and samples and all(form) and outputs and 1 <= len(form) <= 3):
        return None
    return DataShape(samples, tuple(form), outputs, tests)


def _split(shape: DataShape, data: DataSettings, has_test: bool) -> DataShape | Misfit:
    """The sizes of uploaded data after some rows were held out, if any are to be."""
    if not data.test_fraction:
        return shape
    if has_test:
        return Misfit("data.test_fraction", f"the dataset has its own {shape.test_samples} rows x_test: leave it away")
    tests = names.share(shape.samples, data.test_fraction)
    if not 0 < tests < shape.samples:
        return Misfit("data.test_fraction", f"{data.test_fraction:g} of {shape.samples} rows leaves none on one side")
    return replace(shape, samples=shape.samples - tests, test_samples=tests)
