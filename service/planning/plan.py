"""What a grid asks to be found, held against the grid. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from service.questions import filters
from service.questions.brackets import Axis
from service.questions.claim_forms import Claim

Group = Mapping[str, Any]
"""Path -> value of what a boundary is looked for at, or of a point."""


@dataclass(frozen=True, slots=True)
class Search:
    """A `refine` entry, held against its grid."""

    place: str
    paths: tuple[str, ...]
    axes: tuple[Axis, ...]
    bases: tuple[tuple[float, ...], ...]
    """Values of each axis in the grid as it was submitted, increasing."""
    per: tuple[str, ...]
    asks: Claim
    """The claim that is judged at every value; for `where`, what is read of the trials for all such searches."""
    where: str | None
    share: float
    halvings: int | None
    """How many are done in a round, along one axis; None: as many as a round of few trials has room for."""
    rounds: int
    at_most: int

    @property
    def statement(self) -> str:
        """What is looked for, in the words of the grid."""
        return self.asks.id if self.where is None else self.where


@dataclass(frozen=True, slots=True)
class Certainty:
    """`seeds: {until: ..}`, held against its grid."""

    asks: Claim
    """Carries metric, layer and reduction; for a share, the condition."""
    is_share: bool
    half_width: float
    at_least: int
    at_most: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a grid asks to be found."""

    searches: tuple[Search, ...]
    certainty: Certainty | None
    varied: tuple[str, ...]
    """Paths of single settings that the grid assigns: together they say which point a trial belongs to."""
    seeds: tuple[int, ...]
    """Of the first round, and of every point that is added."""
    told: ClassVar[str] = "where of refine"
    """Id of the one of `asks` that stands for all filters: of the trials it reads `paths` alone."""

    @property
    def paths(self) -> frozenset[str]:
        """What the filters read."""
        trees = [filters.parse(one.where) for one in self.searches if one.where is not None]
        return frozenset(path for tree in trees for path in filters.paths(tree))

    @property
    def asks(self) -> list[Claim]:
        """What has to be read of the trials, each once."""
        asks = [one.asks for one in self.searches] + ([self.certainty.asks] if self.certainty else [])
        return list({one.id: one for one in asks}.values())
