"""Looks at what the points of a grid are made of, at each thing once: sections, how they fit, canonical forms. Pure.

Sections that differ in free numbers alone (`free_settings`) share all but these numbers: the first is validated, put
into canonical form and held against the others, and the rest are that form with other numbers in it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from service.errors import InvalidGrid
from service.grid import canonical
from service.grid.axes import SECTIONS, Assignment
from service.grid.canonical import Around
from service.grid.data_settings import DataSettings
from service.grid.data_shapes import Arrays, DataShape, Misfit, data_shape
from service.grid.fitting import Limits, misfits
from service.grid.free_settings import free_in
from service.grid.problems import Problems
from service.grid.sections import SectionValue, merge_section, validate_section
from service.grid.stacking import PER_LANE
from service.grid.trial_settings import InitSettings, TrainingSettings, TrialSettings
from service.grid.written import Written

MAX_LISTED: Final = 2_000_000
"""Numbers in the lists of all sections of a grid together: a range is short to write and long to keep."""
MAX_WRITTEN: Final = 1_000_000_000
"""Characters in the canonical settings of all trials together, which are hashed."""
MAX_MADE: Final = 400_000_000
"""Characters in the different sections of canonical settings, which are in memory together."""

MAX_LAYERS_READ: Final = 100_000
"""Layers of the graphs that a grid's networks are: each graph is built and held against the data."""
_GRAPH_LAYERS: Final = 7
"""What a graph takes beside its layers, as layers."""

PLACES: Final = {name: place for place, name in enumerate(SECTIONS)}
SEEING_OTHERS: Final = ("training", "measure")
"""Sections whose canonical form depends on what is around them."""


class Template(NamedTuple):
    """A section, for all that differ from it in some free numbers alone."""

    section: SectionValue
    own: frozenset[str]
    """Names of these numbers."""
    has_key: bool
    """Whether those that differ in them may not be trained in one stack."""


class Fitting(NamedTuple):
    """What is known of the points whose sections have these templates."""

    shape: DataShape
    around: int
    """Which of the surroundings that were met."""
    layers: tuple[str, ...]
    """Names of the network's layers, in the order of their numbers; none where they have numbers alone."""
    device: str
    """Where to train; no part of the settings."""
    keeps: bool
    """Whether its trials keep the state that they end with; no part of the settings."""


class Build:
    """Validates, fits and writes sections, remembering what it has looked at.

    Args:
        blocks: the trial block by section.
        limits: what a trial may be.
        datasets: id -> {array: shape} of uploaded datasets.
        seeds: how many trials each point is.
        problems: where what is wrong is noted.
    """

    def __init__(
        self,
        blocks: Mapping[str, Mapping[str, Any]],
        limits: Limits,
        datasets: Mapping[str, Arrays],
        seeds: int,
        problems: Problems,
    ) -> None:
        self.problems = problems
        self._blocks, self._limits, self._datasets, self._seeds = blocks, limits, datasets, seeds
        self._forms: dict[Any, Written] = {}
        self._sections: dict[Any, SectionValue] = {}
        self._arounds: dict[Around, int] = {}
        self._listing: list[Around] = []
        self._shapes: dict[int, DataShape | Misfit] = {}
        self._listed, self._made, self._written, self._layers = 0, 0, 0, 0

    @property
    def forms(self) -> Iterator[tuple[SectionValue, Mapping[str, Any]]]:
        """Every section of a point with its canonical form, but one of those that differ in free numbers alone."""
        return ((section, self._forms[key].settings) for key, section in self._sections.items())

    def template(self, name: str, parts: Sequence[Assignment], own: Collection[str]) -> Template | None:
        """A section as what its points set over the trial block; None after noting what is invalid.

        Args:
            name: of the section.
            parts: what the first of its points set.
            own: names of numbers that others have others of: those that are not free in it are left out.
        Raises:
            InvalidGrid: all lists together are too long.
        """
        merged, origins = merge_section(self._blocks[name], parts)
        section = validate_section(name, merged, origins, self.problems)
        if section.model is None:
            return None
        self._count_listed(section)
        free = free_in(section.model) & frozenset(own)
        return Template(section, free, bool(free) and _has_key(section, free))

    def fit(self, sections: Sequence[SectionValue]) -> Fitting | list[Misfit]:
        """How sections, in the order of `SECTIONS`, fit each other, or why they do not."""
        settings = TrialSettings.model_construct(None, **{one.name: one.model for one in sections})
        shape = self._shape(sections[PLACES["data"]])
        if isinstance(shape, Misfit):
            return [shape]
        wrong = list(misfits(settings, shape, self._limits, self._datasets))
        if wrong:
            return wrong
        around = canonical.surroundings(settings, shape)
        self._count_layers(around)
        number = self._arounds.setdefault(around, len(self._arounds))
        if number == len(self._listing):
            self._listing.append(around)
        training = settings.training
        return Fitting(shape, number, self._listing[number].layers.names, training.device, training.keep is not None)

    def written(self, section: SectionValue, around: int) -> Written:
        """Canonical form of a section, shared by all points that have it."""
        key = id(section), around if section.name in SEEING_OTHERS else None
        found = self._forms.get(key)
        if found is None:
            assert section.model is not None
            form = canonical.canonical_section(section.model, self._listing[around])
            found = self._forms[key] = Written(form)
            self._sections[key] = section
        return found

    def _shape(self, data: SectionValue) -> DataShape | Misfit:
        found = self._shapes.get(id(data))
        if found is None:
            assert isinstance(data.model, DataSettings)
            found = self._shapes[id(data)] = data_shape(data.model, self._datasets)
        return found

    def _count_listed(self, section: SectionValue) -> None:
        self._listed += _length(section)
        if self._listed > MAX_LISTED:
            told = f"the lists of numbers of all points together hold more than {MAX_LISTED:,}"
            advice = f"take fewer points, or shorter lists; a layer's own numbers count as {_OF_A_LAYER}"
            self.problems.add(f"trial.{section.name}", f"{told}: {advice}")
            self.problems.raise_as(InvalidGrid)

    def _count_layers(self, around: Around) -> None:
        if around.layers.names:
            self._layers += _GRAPH_LAYERS + around.layers.count
        if self._layers > MAX_LAYERS_READ:
            told = f"different networks of other kinds than mlp have more than {MAX_LAYERS_READ:,} layers together"
            advice = "vary fewer of their sizes, or submit parts of the grid as experiments of their own"
            self.problems.add("axes", f"{told}: {advice}", allowed=MAX_LAYERS_READ)
            self.problems.raise_as(InvalidGrid)

    def count_made(self, characters: int) -> None:
        """Count the texts of different sections, before they are made. Raises InvalidGrid."""
        self._made += characters
        self._check_characters(self._made, MAX_MADE)

    def count_written(self, characters: int) -> None:
        """Count the settings of points, before they are hashed. Raises InvalidGrid."""
        self._written += characters * (1 + self._seeds)
        self._check_characters(self._written, MAX_WRITTEN)

    def _check_characters(self, characters: int, most: int) -> None:
        if characters > most:
            told = f"the settings of all trials together are more than {most:,} characters"
            self.problems.add("axes", f"{told}: take fewer trials, or shorter lists of numbers, metrics and layers")
            self.problems.raise_as(InvalidGrid)


def _length(section: SectionValue) -> int:
    """Numbers in the lists of a section; what a layer has of its own takes as long as a short list."""
    model = section.model
    lists = sum([len(part) for part in vars(model).values() if type(part) is list])
    return lists + _OF_A_LAYER * len(model.layers) if isinstance(model, TrainingSettings) else lists


_OF_A_LAYER: Final = 30


def _has_key(section: SectionValue, own: Iterable[str]) -> bool:
    """Whether these numbers of a section, or what follows from them, are in stack keys."""
    if isinstance(section.model, TrainingSettings):
        # in float32 the decay decides how wide weights are kept
        return section.model.dtype == "float32" or not PER_LANE.issuperset(own)
    return not isinstance(section.model, DataSettings | InitSettings)
