"""What ships with the service: presets and metric definitions."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from nfa_kernels import names
from service.presets import get_preset, list_presets
from service.schemas.catalogue import MetricDefinitions, PresetDetail, Presets

router = APIRouter(tags=["catalogue"])


@router.get("/presets", summary="Grids that ship with the service", response_model=Presets)
def presets() -> dict[str, Any]:
    """Name, title and size of each."""
    return {"items": [{"name": one.name, "title": one.title, "trials": one.trials} for one in list_presets()]}


@router.get("/presets/{name}", summary="One preset", response_model=PresetDetail)
def preset(name: str) -> Any:
    """A preset with its grid, ready to POST to /experiments."""
    one = get_preset(name)
    return {
        "name": one.name,
        "title": one.title,
        "trials": one.trials,
        "description": one.description,
        "grid": one.grid,
    }


@router.get("/metric-definitions", summary="What each metric is", response_model=MetricDefinitions)
def metric_definitions() -> dict[str, Any]:
    """Formula, level, unit, range, source and version of every metric."""
    return {
        "items": [{"id": name} | asdict(metric) for name, metric in (names.METRICS | names.METRIC_FAMILIES).items()]
    }
