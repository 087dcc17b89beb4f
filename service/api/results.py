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
from service.store import results
from service.store.experiments import get_experiment

router = APIRouter(prefix="/experiments/{experiment_id}", tags=["results"])


@router.get("/results", summary="Group-by table", response_model=Page[dict[str, Any]])
def get_results(
    experiment_id: str,
    store: StoreDep,
    group_by: Annotated[
        str | None, Query(max_length=2000, description="Comma-separated paths; default: the grid's axes.")
    ] = None,
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
    metrics = known_metrics(metric)
    words = [name for name in metrics if name in names.METRICS and names.METRICS[name].words]
    if words or not metrics:
        raise InvalidRequest(f"metric: received {metric[:100]!r}; name at least one metric whose value is a number")
    question = results.Question(
        tuple(keys), tuple(metrics), layer, known_reduction(reduce), tuple(known_aggregates(agg)), where
    )
    return {"items": results.group_table(store, experiment_id, question), "next_cursor": None}


@router.get("/verdicts", summary="The claims, judged", response_model=Verdicts)
def get_verdicts(experiment_id: str, store: StoreDep) -> dict[str, Any]:
    """Each claim of the experiment with the value that decides, and how many trials were left out and why."""
    claims = parse_claims(get_experiment(store, experiment_id).claims)
    rows = results.claim_rows(store, experiment_id, claims)
    return {"items": [asdict(judge(claim, rows[claim.id])) for claim in claims]}
