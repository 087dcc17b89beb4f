"""Settings of which nothing but a number in the canonical form depends: a hundred thousand of them are one check.

A section whose free settings alone differ from another's is as valid as that one, fits the other sections as it does,
and reads the same settings. So each value of a free setting is checked by itself, and all else once for all of them.
What is not named here may decide about other settings, and is looked at with every section that has it.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from service.grid.axes import SECTIONS
from service.grid.canonical import plain_field
from service.grid.fields import REFUSED, checked
from service.grid.fitting import Limits
from service.grid.network_settings import NetworkSettings
from service.grid.setting_types import Section
from service.grid.trial_settings import TrainingSettings

FREE: Final = frozenset(
    {
        *("data.noise", "data.offset", "data.radius", "data.seed"),
        "network.slope",
        *("init.scale", "init.first", "init.last"),
        *("training.learning_rate", "training.weight_decay", "training.momentum", "training.beta1", "training.beta2"),
        *("training.epsilon", "training.rho", "training.huber_delta", "training.label_smoothing"),
        *("training.horizon", "training.rtol", "training.atol", "training.schedule_factor", "training.steps"),
        *("measure.points", "measure.every"),
    }
)
"""Paths of settings that are free unless something beside them reads them: see `free_in` and `free_beside`."""


class Free(NamedTuple):
    """A value of a free setting."""

    name: str
    """Of the field."""
    value: Any
    """As its section has it."""
    plain: int | float
    """As canonical form has it."""
    text: str
    """As it is hashed."""

    @property
    def kind(self) -> int:
        """Its sign: whether a number is zero decides what is read."""
        return (self.plain > 0) - (self.plain < 0)


def free_in(model: Section) -> frozenset[str]:
    """Names of the settings that are free in a section, the others of which are given."""
    if isinstance(model, NetworkSettings) and model.kind != "mlp":
        # a kind refuses what it does not read, unless it is as where nothing is said
        return frozenset()
    if not isinstance(model, TrainingSettings):
        return _names(model)
    # a layer's own number is left out where it is that of all; stages begin at thirds of the steps
    of_layers = {"learning_rate", "weight_decay"} if model.layers else set()
    of_schedule = {"steps"} if model.schedule in ("step", "warmup") else set()
    return _names(model) - of_layers - of_schedule


def free_beside(paths: Iterable[str]) -> frozenset[str]:
    """Paths that are free in a grid that sets these: kept weights must not be later than the last step."""
    return FREE - {"training.steps"} if "measure.weights" in paths else FREE


def free_values(path: str, values: Sequence[Any], limits: Limits) -> Iterator[Free | None]:
    """The values of a free setting; None for one that is refused, is null, or is for `misfits` to refuse."""
    name = path.partition(".")[2]
    section = SECTIONS[path.partition(".")[0]]
    for value in checked(path, values):
        if value is REFUSED or value is None or (path == "training.steps" and value > limits.steps):
            yield None
        else:
            plain = plain_field(section, name, value)
            yield Free(name, value, plain, repr(plain))


@cache
def _of_section(section: type[Section]) -> frozenset[str]:
    name = next(key for key, model in SECTIONS.items() if model is section)
    return frozenset(path.partition(".")[2] for path in FREE if path.partition(".")[0] == name)


def _names(model: Section) -> frozenset[str]:
    return _of_section(type(model))
