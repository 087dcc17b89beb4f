"""What an experiment has found: boundaries, intervals and fits, from what its trials measured."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from service.grid.value_order import ValueOrder
from service.planning.cells import Curve
from service.planning.planner import Boundary, Estimate, boundaries, estimates
from service.questions.claim_forms import parse_claims
from service.questions.fitted import Fitted, fitted
from service.store.experiments import get_experiment
from service.store.rounds import searched
from service.store.session import Store
from service.store.submissions import searches
from service.store.verdicts import claim_rows


def asks_for_something(grid: Mapping[str, Any]) -> bool:
    """Whether a grid has something to find: a boundary, an interval or a fit."""
    return searches(grid) or any("fit" in claim for claim in grid.get("claims") or () if isinstance(claim, Mapping))


def found_by(store: Store, public_id: str) -> dict[str, Any]:
    """All that an experiment has found so far, as `schemas.fits.Fits` has it, by groups in order. Raises NotFound."""
    one, search = get_experiment(store, public_id), searched(store, public_id)
    claims = [claim for claim in parse_claims(one.claims) if claim.fit is not None]
    rows = claim_rows(store, public_id, claims)
    plan = search.plan
    lines = boundaries(plan, search.rows) if plan else []
    order = ValueOrder(lambda: [one.grid])

    def key(found: Fitted | Estimate) -> list[Any]:
        return [order.rank(path, value) for path, value in found.group.items()]

    return {
        "searching": search.is_open,
        "rounds": len(search.rounds),
        "stopped": dict(search.stopped),
        "boundaries": [_boundary(found, is_open=search.is_open) for found in lines],
        "estimates": [_estimate(found) for found in sorted(estimates(plan, search.rows), key=key)] if plan else [],
        "fits": [_fit(fit) for claim in claims for fit in sorted(fitted(claim, rows[claim.id]), key=key)],
    }


def _fit(one: Fitted) -> dict[str, Any]:
    told = {name: getattr(one, name) for name in ("claim", "kind", "group", "value", "low", "high", "points")}
    return told | (asdict(one.drawn) if one.drawn else {})


def _boundary(one: Boundary, *, is_open: bool) -> dict[str, Any]:
    found = one.found
    told: dict[str, Any] = {
        "refine": one.place,
        "statement": one.statement,
        "axes": list(one.paths),
        "group": dict(one.group),
        "tried": sum(verdict is not None for verdict in one.seen.values()),
        "undefined": list(found.undefined),
        "next": list(one.next) if is_open else [],
        "seen": [
            [*(place if isinstance(place, tuple) else (place,)), verdict] for place, verdict in sorted(one.seen.items())
        ],
        "brackets": [],
        "cells": [],
    }
    if isinstance(found, Curve):
        cells = [{"low": cell.low, "high": cell.high} for cell in found.crossed]
        return told | {"cells": cells, "is_monotone": None, "is_found": found.is_found}
    brackets = [
        {name: getattr(bracket, name) for name in ("low", "high", "value", "holds_below", "is_found")}
        for bracket in found.brackets
    ]
    is_found = all(bracket.is_found for bracket in found.brackets)
    return told | {"brackets": brackets, "is_monotone": found.is_monotone, "is_found": is_found}


def _estimate(one: Estimate) -> dict[str, Any]:
    interval = one.interval
    return {
        "group": dict(one.group),
        "estimate": _finite(interval.estimate),
        "low": _finite(interval.low),
        "high": _finite(interval.high),
        "seeds": one.seeds,
        "is_certain": one.is_certain,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
