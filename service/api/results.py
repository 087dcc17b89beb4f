"""Group-by tables and verdicts."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from nfa_kernels import names
from service.api.deps import StoreDep, Where
from service.api.names import known_aggregates, known_metrics, known_paths, known_reduction
from service.claims import judge, parse_claims
from service.errors import InvalidRequest
from service.schemas import Page, Verdicts
from service.store import curves, results
from service.store.experiments import get_experiment

router = APIRouter(prefix="/experiments/{experiment_id}", tags=["results"])
GroupBy = Annotated[str | None, Query(max_length=2000, description="Comma-separated paths; default: the grid's axes.")]


@router.get("/results", summary="Group-by table", response_model=Page[dict[str, Any]])
def get_results(
    experiment_id: str,
    store: StoreDep,
    group_by: GroupBy = None,
    metric: Annotated[str, Query(max_length=2000, description="Comma-separated metric ids.")] = "alignment",
    layer: Annotated[int, Query(ge=1, le=64)] = 1,
    reduce: Annotated[
        str,
        Query(
            max_length=100,
            description="From a series to a number: first, final, min, max, mean_last:n, first_above:x, first_below:x.",
        ),
    ] = "final",
    agg: Annotated[
        str,
        Query(
            max_length=500,
            description="Over the trials of a group: mean, std, sem, min, max, median, count, qNN (a quantile in "
            "percent), ci95 (bootstrap interval of the mean).",
        ),
    ] = "mean,std,count",
    where: Where = "",
) -> dict[str, Any]:
    """One row per group: its keys, `trials`, `incomplete`, and METRIC_AGG.

    Only completed trials with a defined value enter; count says how many did. A metric whose value is a word has no
    mean and is refused.
    """
    keys = get_experiment(store, experiment_id).axes if group_by is None else known_paths(group_by)
    metrics = _numeric_metrics(metric)
    question = results.Question(
        tuple(keys), tuple(metrics), layer, known_reduction(reduce), tuple(known_aggregates(agg)), where
    )
    return {"items": results.group_table(store, experiment_id, question), "next_cursor": None}


@router.get("/curves", summary="Seed-averaged series", response_model=Page[dict[str, Any]])
def get_curves(
    experiment_id: str,
    store: StoreDep,
    group_by: GroupBy = None,
    metric: Annotated[str, Query(max_length=100, description="One metric id.")] = "alignment",
    layer: Annotated[int, Query(ge=1, le=64)] = 1,
    agg: Annotated[str, Query(max_length=500, description="As for results, without ci95.")] = "mean,std,count",
    max_points: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
    where: Where = "",
) -> dict[str, Any]:
    """One item per group: its keys, `trials`, `incomplete`, and arrays step, time and METRIC_AGG by exact step."""
    keys = get_experiment(store, experiment_id).axes if group_by is None else known_paths(group_by)
    metrics = _numeric_metrics(metric)
    aggregates = known_aggregates(agg)
    if len(metrics) != 1 or "ci95" in aggregates:
        raise InvalidRequest("curves take one metric, and any aggregate but ci95")
    question = curves.CurveQuestion(tuple(keys), metrics[0], layer, tuple(aggregates), where, max_points)
    return {"items": curves.curves(store, experiment_id, question), "next_cursor": None}


def _numeric_metrics(text: str) -> list[str]:
    """Metrics that have a column and a mean."""
    metrics = known_metrics(text)
    if not metrics or any(name not in names.METRICS or names.METRICS[name].words for name in metrics):
        raise InvalidRequest(f"metric: received {text[:100]!r}; name metrics whose value is a number")
    return metrics


@router.get("/verdicts", summary="The claims, judged", response_model=Verdicts)
def get_verdicts(experiment_id: str, store: StoreDep) -> dict[str, Any]:
    """Each claim of the experiment with the value that decides, and how many trials were left out and why."""
    claims = parse_claims(get_experiment(store, experiment_id).claims)
    rows = results.claim_rows(store, experiment_id, claims)
    return {"items": [asdict(judge(claim, rows[claim.id])) for claim in claims]}
