"""Presets and metric definitions."""

from typing import Any

from pydantic import Field

from service.schemas.bodies import Body


class PresetBody(Body):
    """A grid that ships with the service."""

    name: str
    title: str
    trials: int


class Presets(Body):
    """All presets."""

    items: list[PresetBody]


class PresetDetail(PresetBody):
    """A preset with its grid, ready to POST."""

    description: str
    grid: dict[str, Any]


class MetricDefinition(Body):
    """What a metric is."""

    id: str
    formula: str
    level: str = Field(description="network: one value per step; layer: one per step and layer.")
    unit: str
    range: str
    source: str
    default: bool = Field(description="Whether `measure.metrics: default` measures it.")
    only_named: bool = Field(False, description="Whether it is measured where it is named alone: `all` leaves it out.")
    words: list[str] = Field(description="The values of a metric whose value is a word.")
    version: int


class MetricDefinitions(Body):
    """All metrics."""

    items: list[MetricDefinition]
