"""Builds the points of a grid, looking at each thing once: sections, how they fit, what is hashed. Pure.

Sections that differ in free numbers alone (`free_settings`) share all but these numbers: the first is validated, put
into canonical form and held against the others, and the rest are that form with another number in it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from service.errors import InvalidGrid
from service.grid import canonical
from service.grid.axes import SECTIONS
from service.grid.canonical import Around, Settings
from service.grid.columns import Said, head
from service.grid.data_settings import DataSettings
from service.grid.data_shapes import Arrays, DataShape, Misfit, data_shape
from service.grid.fitting import Limits, misfits
from service.grid.free_settings import Free, free_in
from service.grid.problems import Problems
from service.grid.sections import SectionValue, merge_section, origin_of, validate_section
from service.grid.stacking import PER_LANE, key_of, shape_text, training_texts
from service.grid.trial_settings import InitSettings, TrainingSettings, TrialSettings

MAX_LISTED: Final = 2_000_000
"""Numbers in the lists of all sections of a grid together: a range is short to write and long to keep."""
MAX_WRITTEN: Final = 400_000_000
"""Characters in the canonical settings of all trials together, which are hashed."""

MAX_LAYERS_READ: Final = 100_000
"""Layers of the graphs that a grid's networks are: each graph is built and held against the data."""
_GRAPH_LAYERS: Final = 7
"""What a graph takes beside its layers, as layers."""


class Form(NamedTuple):
    """Canonical form of a section, and as it is hashed."""

    settings: dict[str, Any]
    text: str


@dataclass(slots=True)
class Variant:
    """A section that is another one but for free numbers."""

    template: SectionValue
    said: Sequence[Said]
    has_key: bool
    """Whether trials that have it may not be stacked with those that have the other one."""

    @property
    def name(self) -> str:
        """Of the section."""
        return self.template.name

    @property
    def free(self) -> Iterator[Free]:
        """Its own numbers."""
        return (number for one in self.said for number in one.free)

    @property
    def origins(self) -> dict[str, str]:
        """Dotted path -> place in the document that it came from."""
        return {part.path: part.origin for one in self.said for part in one.parts}

    def value(self, path: str) -> Any:
        """The value at a path into this section."""
        name = path.partition(".")[2]
        for number in self.free:
            if number.name == name:
                return number.value
        return self.template.value(path)


AnySection = SectionValue | Variant


@dataclass(slots=True)
class Point:
    """One point of the grid, without its seeds."""

    forms: Sequence[Form]
    """Of its sections, in the order of `SECTIONS`."""
    digest: str
    stack_key: str
    shape: DataShape
    layers: tuple[str, ...]
    """Names of its network's layers, in the order of their numbers; none where they have numbers alone."""
    device: str
    """Where to train; no part of the settings."""
    keeps: bool
    """Whether its trials keep the state that they end with; no part of the settings."""
    sections: Sequence[AnySection] = field(compare=False, repr=False)
    layout: "Layout" = field(compare=False, repr=False)

    @property
    def settings(self) -> Settings:
        """Canonical settings."""
        return {name: self.forms[PLACES[name]].settings for name in self.layout.order}

    @property
    def text(self) -> str:
        """Canonical settings as they are hashed."""
        return _text(self.forms)

    @property
    def axes(self) -> dict[str, Any]:
        """The value of every varying path, typed, as the user would write it."""
        return {path: self.sections[PLACES[head(path)]].value(path) for path in self.layout.paths}


class Layout(NamedTuple):
    """What points of one grid share."""

    order: Sequence[str]
    """Of the sections in settings: those that vary come last."""
    paths: Sequence[str]
    """Those that vary."""


PLACES: Final = {name: place for place, name in enumerate(SECTIONS)}


def _text(forms: Sequence[Form]) -> str:
    """What `canonical.compact` makes of settings."""
    data, network, init, training, measure = forms
    return (
        f'{{"data":{data.text},"init":{init.text},"measure":{measure.text},'
        f'"network":{network.text},"training":{training.text}}}'
    )


class _Fitting(NamedTuple):
    """What is known of sections that differ in free numbers alone from these."""

    shape: DataShape
    around: Around
    forms: dict[int, Form]
    """Of sections with these around them."""
    device: str
    keeps: bool
    keys: dict[tuple[int, ...], str]
    """Stack keys, by those of the sections that have one of their own."""


@dataclass
class _Written:
    """Canonical form of a section and of all that differ from it in free numbers alone."""

    section: SectionValue
    form: Form

    @cached_property
    def _members(self) -> list[str]:
        """Each field of the form as it is hashed."""
        return [f'"{name}":{canonical.compact(self.form.settings[name])}' for name in sorted(self.form.settings)]

    @cached_property
    def _places(self) -> dict[str, int]:
        """Field -> its place among the members."""
        return {name: place for place, name in enumerate(sorted(self.form.settings))}

    def varied(self, free: Iterable[Free]) -> Form:
        """The form with these numbers where the section reads them."""
        members, settings, places = self._members.copy(), self.form.settings.copy(), self._places
        for number in free:
            place = places.get(number.name)
            if place is not None:
                members[place] = f'"{number.name}":{number.text}'
                settings[number.name] = number.plain
        return Form(settings, "{" + ",".join(members) + "}")


class Build:
    """Builds points, remembering every section it has looked at.

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
        self._forms: dict[Any, _Written] = {}
        self._blocks, self._limits, self._datasets, self._seeds = blocks, limits, datasets, seeds
        self._kinds: dict[Any, int] = {}
        self._known: dict[Any, AnySection] = {}
        self._invalid: list[AnySection] = []
        self._templates: dict[int, tuple[SectionValue, frozenset[str]]] = {}
        self._fitting: dict[Any, _Fitting | list[Misfit]] = {}
        self._around: dict[Around, tuple[Around, dict[int, Form]]] = {}
        self._shapes: dict[int, DataShape | Misfit] = {}
        self._lists: dict[int, int] = {}
        self._keys: dict[Any, str] = {}
        self._listed, self._written, self._layers = 0, 0, 0

    @property
    def forms(self) -> Iterator[tuple[SectionValue, Mapping[str, Any]]]:
        """Every section of a point with its canonical form, but one of those that differ in free numbers alone."""
        return ((one.section, one.form.settings) for one in self._forms.values())

    def section(self, name: str, said: Sequence[Said]) -> AnySection:
        """The section of a point, by what the choices of the point say about it."""
        kind = name, *[one.kind for one in said]
        number = self._kinds.setdefault(kind, len(self._kinds))
        key = number, *[free.value for one in said for free in one.free]
        found = self._known.get(key)
        if found is None:
            found = self._new(name, said, number)
            if found.template.model is None:
                self._invalid.append(found)  # sections are told apart by their identity, so none may go
            else:
                self._known[key] = found
                self._count_listed(found)
        return found

    def _new(self, name: str, said: Sequence[Said], kind: int) -> AnySection:
        own = {number.name for one in said for number in one.free}
        template, free = self._templates.get(kind, (None, frozenset()))
        if template is not None and own <= free:
            return Variant(template, said, _has_key(template, own))
        merged, origins = merge_section(self._blocks[name], [part for one in said for part in one.parts])
        found = validate_section(name, merged, origins, self.problems)
        if own and template is None and found.model is not None:
            self._templates[kind] = found, free_in(found.model)
        return found

    def _count_listed(self, section: AnySection) -> None:
        template = section.template
        count = self._lists.get(id(template))
        if count is None:
            count = self._lists[id(template)] = _length(template)
        self._listed += count
        if self._listed > MAX_LISTED:
            told = f"the lists of numbers of all points together hold more than {MAX_LISTED:,}"
            advice = f"take fewer points, or shorter lists; a layer's own numbers count as {_OF_A_LAYER}"
            self.problems.add(f"trial.{template.name}", f"{told}: {advice}")
            self.problems.raise_as(InvalidGrid)

    def point(self, sections: Sequence[AnySection], layout: Layout) -> Point | None:
        """The point of five sections in the order of `SECTIONS`; None after noting what is invalid or does not fit.

        Raises:
            InvalidGrid: the settings of all points are more than can be hashed in time.
        """
        key = tuple([id(section.template) for section in sections])
        fitting = self._fitting.get(key)
        if fitting is None:
            if any(section.template.model is None for section in sections):
                return None
            fitting = self._fitting[key] = self._fit([section.template for section in sections])
        if isinstance(fitting, list):
            for path, message in fitting:
                section = sections[PLACES[head(path)]]
                self.problems.add(origin_of(path, section.origins), message, received=section.value(path))
            return None
        known, ids = fitting.forms, list(map(id, sections))
        if not all(map(known.__contains__, ids)):
            for section in [sections[PLACES[name]] for name in layout.order]:
                if id(section) not in known:
                    known[id(section)] = self._form(section, fitting.around)
        forms = tuple(map(known.__getitem__, ids))
        text = _text(forms)
        self._count_written(len(text))
        own = tuple([id(section) for section in sections if section.has_key])
        stack_key = fitting.keys.get(own)
        if stack_key is None:
            stack_key = fitting.keys[own] = self._stack_key(forms)
        digest, fits, layers = canonical.sha256_of(text), fitting, fitting.around.layers.names
        return Point(forms, digest, stack_key, fits.shape, layers, fits.device, fits.keeps, sections, layout)

    def _fit(self, sections: Sequence[SectionValue]) -> _Fitting | list[Misfit]:
        """How sections fit each other, or why they do not."""
        settings = TrialSettings.model_construct(None, **{one.name: one.model for one in sections})
        shape = self._shape(sections[PLACES["data"]])
        if isinstance(shape, Misfit):
            return [shape]
        wrong = list(misfits(settings, shape, self._limits, self._datasets))
        if wrong:
            return wrong
        around = canonical.surroundings(settings, shape)
        self._count_layers(around)
        around, forms = self._around.setdefault(around, (around, {}))
        training = settings.training
        return _Fitting(shape, around, forms, training.device, training.keep is not None, {})

    def _shape(self, data: SectionValue) -> DataShape | Misfit:
        found = self._shapes.get(id(data))
        if found is None:
            assert isinstance(data.model, DataSettings)
            found = self._shapes[id(data)] = data_shape(data.model, self._datasets)
        return found

    def _form(self, section: AnySection, around: Around) -> Form:
        """Canonical form of a section, shared by all points that have it."""
        written = self._written_form(section.template, around)
        return written.varied(section.free) if isinstance(section, Variant) else written.form

    def _written_form(self, section: SectionValue, around: Around) -> _Written:
        key = id(section), around if section.name in _SEEING_OTHERS else None
        found = self._forms.get(key)
        if found is None:
            assert section.model is not None
            settings = canonical.canonical_section(section.model, around)
            found = self._forms[key] = _Written(section, Form(settings, canonical.compact(settings)))
        return found

    def _stack_key(self, forms: Sequence[Form]) -> str:
        data, network, _, training, measure = forms
        texts = training_texts(training.settings, network.settings["parameterization"])
        parts = shape_text(data.settings), network.text, canonical.joined(texts), measure.text
        found = self._keys.get(parts)
        if found is None:
            found = self._keys[parts] = key_of(parts[0], network.text, texts, measure.text)
        return found

    def _count_layers(self, around: Around) -> None:
        if around.layers.names:
            self._layers += _GRAPH_LAYERS + around.layers.count
        if self._layers > MAX_LAYERS_READ:
            told = f"different networks of other kinds than mlp have more than {MAX_LAYERS_READ:,} layers together"
            advice = "vary fewer of their sizes, or submit parts of the grid as experiments of their own"
            self.problems.add("axes", f"{told}: {advice}", allowed=MAX_LAYERS_READ)
            self.problems.raise_as(InvalidGrid)

    def _count_written(self, characters: int) -> None:
        self._written += characters * (1 + self._seeds)
        if self._written > MAX_WRITTEN:
            told = f"the settings of all trials together are more than {MAX_WRITTEN:,} characters"
            self.problems.add("axes", f"{told}: take fewer trials, or shorter lists of numbers, metrics and layers")
            self.problems.raise_as(InvalidGrid)


_SEEING_OTHERS: Final = ("training", "measure")
"""Sections whose canonical form depends on what is around them."""


def _length(section: SectionValue) -> int:
    """Numbers in the lists of a section; what a layer has of its own takes as long as a short list."""
    model = section.model
    lists = sum([len(part) for part in vars(model).values() if type(part) is list])
    return lists + _OF_A_LAYER * len(model.layers) if isinstance(model, TrainingSettings) else lists


_OF_A_LAYER: Final = 30


def _has_key(template: SectionValue, own: Iterable[str]) -> bool:
    """Whether these numbers of a section, or what follows from them, are in stack keys."""
    if isinstance(template.model, TrainingSettings):
        # in float32 the decay decides how wide weights are kept
        return template.model.dtype == "float32" or not PER_LANE.issuperset(own)
    return not isinstance(template.model, DataSettings | InitSettings)
