"""Group-by tables, curves, phase diagrams and verdicts."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.api.deps import StoreDep, Where
from service.api.etags import answer_once
from service.api.formats import FORMAT_RESPONSES, TableFormat, json_answer, table_answer
from service.api.query_names import known_aggregates, known_paths, known_reduction, numeric_metrics
from service.errors import InvalidRequest
from service.questions.layers import LayerText
from service.questions.tables import long_table, table
from service.schemas.bodies import Page
from service.schemas.results import Curve, Differences, Phase, PoolingBody, ResultRow, Verdicts
from service.store import curves, phase, pooling, results
from service.store.differences import differences
from service.store.experiments import get_experiment, grouping_axes
from service.store.session import Store
from service.store.verdicts import judged
from service.store.versions import version_of

router = APIRouter(prefix="/experiments/{experiment_id}", tags=["results"])
GroupBy = Annotated[str | None, Query(max_length=2000, description="Comma-separated paths; default: the grid's axes.")]
Also = Annotated[
    str | None, Query(max_length=2000, description="Further experiments, comma-separated, to compare with.")
]
LayerAsked = Annotated[LayerText, Query(description="For metrics of layers: its number from 1, or its name.")]
InputsAsked = Annotated[
    str,
    Query(
        max_length=200,
        description="Over which the metrics' AGOP is averaged: train, test, data-ID of an upload, or "
        "probes-COUNT-SEED-SCALE; beyond train they are called METRIC/INPUTS, and may be asked for so too.",
    ),
]
Reduce = Annotated[
    str,
    Query(
        max_length=100,
        description="From a series to a number: first, final, min, max, mean_last:n, first_above:x, first_below:x.",
    ),
]


@router.get("/results", summary="Group-by table", response_model=Page[ResultRow], responses=FORMAT_RESPONSES)
def get_results(
    experiment_id: str,
    store: StoreDep,
    request: Request,
    form: TableFormat,
    group_by: GroupBy = None,
    metric: Annotated[str, Query(max_length=2000, description="Comma-separated metric ids.")] = "alignment",
    layer: LayerAsked = 1,
    inputs: InputsAsked = "train",
    reduce: Reduce = "final",
    agg: Annotated[
        str,
        Query(
            max_length=500,
            description="Over the trials of a group: mean, std, sem, min, max, median, count, qNN (a quantile in "
            "percent), ci95 (bootstrap interval of the mean).",
        ),
    ] = "mean,std,count",
    where: Where = "",
    also: Also = None,
) -> Response:
    """One row per group: its keys, `trials`, `incomplete`, and METRIC_AGG; with `also`, a first key `experiment`.

    Only completed trials with a defined value enter; count says how many did. A metric whose value is a word has no
    mean and is refused.
    """
    others = _others(also)
    keys = _axes(store, [experiment_id, *others]) if group_by is None else known_paths(group_by)
    question = results.Question(
        tuple(keys),
        tuple(numeric_metrics(metric, inputs)),
        layer,
        known_reduction(reduce),
        tuple(known_aggregates(agg)),
        where,
    )

    def make(headers: dict[str, str]) -> Response:
        rows = results.group_table(store, experiment_id, question, others)
        answer = {"items": rows, "next_cursor": None}
        return table_answer(form, answer, lambda: table(rows), f"{experiment_id}-results", headers)

    return answer_once(request, form, version_of(store, [experiment_id, *others], while_running=True), make)


@router.get("/curves", summary="Seed-averaged series", response_model=Page[Curve], responses=FORMAT_RESPONSES)
def get_curves(
    experiment_id: str,
    store: StoreDep,
    request: Request,
    form: TableFormat,
    group_by: GroupBy = None,
    metric: Annotated[str, Query(max_length=100, description="One metric id.")] = "alignment",
    layer: LayerAsked = 1,
    inputs: InputsAsked = "train",
    agg: Annotated[str, Query(max_length=500, description="As for results, without ci95.")] = "mean,std,count",
    max_points: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
    running: Annotated[bool, Query(description="Running trials enter with what they have measured so far.")] = False,
    where: Where = "",
    also: Also = None,
) -> Response:
    """One item per group: its keys, `trials`, `incomplete`, and arrays step, time and METRIC_AGG by exact step.

    As a table (CSV, Arrow, Parquet, NDJSON): one row per group and step.
    """
    others = _others(also)
    keys = _axes(store, [experiment_id, *others]) if group_by is None else known_paths(group_by)
    metrics = numeric_metrics(metric, inputs)
    aggregates = known_aggregates(agg)
    if len(metrics) != 1 or "ci95" in aggregates:
        raise InvalidRequest("curves take one metric, and any aggregate but ci95")
    question = curves.CurveQuestion(tuple(keys), metrics[0], layer, tuple(aggregates), where, max_points, running)

    def make(headers: dict[str, str]) -> Response:
        items = curves.curves(store, experiment_id, question, others)
        answer = {"items": items, "next_cursor": None}
        return table_answer(form, answer, lambda: long_table(items), f"{experiment_id}-curves", headers)

    return answer_once(request, form, version_of(store, [experiment_id, *others], while_running=not running), make)


@router.get("/pooling", summary="What groups pool", response_model=PoolingBody)
def get_pooling(
    experiment_id: str,
    store: StoreDep,
    group_by: GroupBy = None,
    running: Annotated[bool, Query(description="Running trials enter, as in curves.")] = False,
    where: Where = "",
) -> PoolingBody:
    """Whether groups by some paths are seeds of one setting, or mix settings, and over which axes."""
    keys = _axes(store, [experiment_id]) if group_by is None else known_paths(group_by)
    found = pooling.pooled(store, experiment_id, keys, where, with_running=running)
    return PoolingBody(
        over=list(found.over), trials=found.trials, settings=found.settings, seeds=found.seeds, says=found.says()
    )


@router.get("/phase", summary="Two axes as a matrix", response_model=Phase, responses=FORMAT_RESPONSES)
def get_phase(
    experiment_id: str,
    store: StoreDep,
    request: Request,
    form: TableFormat,
    x: Annotated[str | None, Query(max_length=200, description="Path along a row; default: the first axis.")] = None,
    y: Annotated[str | None, Query(max_length=200, description="Path down a column; default: the second axis.")] = None,
    metric: Annotated[str, Query(max_length=100, description="One metric id.")] = "alignment",
    layer: LayerAsked = 1,
    inputs: InputsAsked = "train",
    reduce: Reduce = "final",
    agg: Annotated[str, Query(max_length=20, description="One aggregate, as for results, without ci95.")] = "mean",
    where: Where = "",
    also: Also = None,
) -> Response:
    """`values` and `counts` have one row per value of y; an empty cell is null and 0. As a table: one row per cell.

    With `also`, further experiments' matrices stand under `also`, on the same axes.
    """
    others = _others(also)
    axes = [path for path in _axes(store, [experiment_id]) if path not in (x, y)]
    paths = [_one_path(given, name, axes) for given, name in ((x, "x"), (y, "y"))]
    metrics, aggregates = numeric_metrics(metric, inputs), known_aggregates(agg)
    if len(metrics) != 1 or len(aggregates) != 1 or "ci95" in aggregates or paths[0] == paths[1]:
        raise InvalidRequest("phase takes two different paths x and y, one metric, and one aggregate but ci95")
    question = results.Question(
        tuple(paths), tuple(metrics), layer, known_reduction(reduce), (*dict.fromkeys((aggregates[0], "count")),), where
    )

    def make(headers: dict[str, str]) -> Response:
        found = phase.phase(store, experiment_id, question, others)
        name = f"{experiment_id}-phase"
        return table_answer(form, found, lambda: table(phase.cells(found, experiment_id)), name, headers)

    return answer_once(request, form, version_of(store, [experiment_id, *others], while_running=True), make)


@router.get("/differences", summary="Settings in which experiments differ", response_model=Differences)
def get_differences(experiment_id: str, store: StoreDep, also: Also = None) -> dict[str, Any]:
    """The settings whose values are not the same in this experiment and in all under `also`, as trials have them."""
    ids = [experiment_id, *_others(also)]
    found = differences(store, ids)
    return {"items": [{"path": one.path, "values": dict(zip(ids, one.values, strict=True))} for one in found]}


@router.get("/verdicts", summary="The claims, judged", response_model=Verdicts)
def get_verdicts(experiment_id: str, store: StoreDep, request: Request) -> Any:
    """Each claim of the experiment with the value that decides, and how many trials were left out and why."""

    def make(headers: dict[str, str]) -> Response:
        return json_answer({"items": judged(store, get_experiment(store, experiment_id))}, headers)

    return answer_once(request, "json", version_of(store, [experiment_id], while_running=True), make)


def _others(also: str | None) -> list[str]:
    """Ids under `also`."""
    return list(dict.fromkeys(part.strip() for part in (also or "").split(",") if part.strip()))


def _axes(store: Store, experiments: list[str]) -> list[str]:
    """The paths that vary in any of the experiments, but those whose values are drawn: each would be a group."""
    return list(dict.fromkeys(path for one in experiments for path in grouping_axes(store, one)))


def _one_path(given: str | None, name: str, axes: list[str]) -> str:
    """The path of one side of a phase diagram; an axis where none is given."""
    if given is None:
        if not axes:
            raise InvalidRequest(f"{name}: the grid has no further axis to take; name a path")
        return axes.pop(0)
    paths = known_paths(given, name)
    if len(paths) != 1:
        raise InvalidRequest(f"{name}: received {given[:100]!r}; name one path")
    return paths[0]
