"""Every route of the application against every kind of caller.

What is read needs a token that may read, whatever it is; a route that changes something and has no rule here fails.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.store import submissions, tokens
from service.store.session import utc_now
from service.tokens import Scope

OPEN, READ, SUBMIT, OWNER = "open", "read", "submit", "owner"
V1 = "/api/v1"
ONE = f"{V1}/experiments/{{experiment_id}}"
RULES = {
    OPEN: {"GET /healthz", "GET /readyz", "GET /login", "POST /login", "MOUNT /static/docs", "MOUNT /static/web"},
    SUBMIT: {f"POST {V1}/experiments", f"POST {V1}/datasets", f"DELETE {V1}/datasets/{{dataset_id}}", "POST /submit"},
    OWNER: {
        *(
            f"POST {ONE}/{verb}"
            for verb in ("cancel", "pause", "resume", "retry", "thin", "extend", "claims", "measure", "views")
        ),
        f"PATCH {ONE}",
        f"DELETE {ONE}",
        f"DELETE {ONE}/views/{{view_id}}",
        "POST /experiments/{experiment_id}/{action}",
    },
    READ: {f"POST {V1}/experiments/preview"},
}
# whose experiments are named is looked at before anything is done with them
RULES[SUBMIT] |= {"POST /bulk"}
RULES[OPEN] |= {"GET /static/web/vega.js", "GET /grid-schema.json", "POST /logout"}
ALLOWED = {
    OPEN: {"nobody", "expired", "reader", "other", "owner", "admin"},
    READ: {"reader", "other", "owner", "admin"},
    SUBMIT: {"other", "owner", "admin"},
    OWNER: {"owner", "admin"},
}
BODIES = {"retry": {"which": "failed"}, "thin": {"keep_every": 2}, "extend": {"seeds": 1}, "claims": {"claims": []}} | {
    "measure": {"metrics": ["pearson"]},
    "views": {},
}


def documented(application: Any) -> Iterator[str]:
    """METHOD path of every route, of included routers too; mounts as MOUNT path."""
    yield from _below(application.routes, "")


def _below(routes: list[Any], prefix: str) -> Iterator[str]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _below(inner.routes, prefix + getattr(route.include_context, "prefix", ""))
        elif getattr(route, "methods", None):
            for method in sorted(route.methods - {"HEAD", "OPTIONS"}):
                yield f"{method} {prefix}{route.path}"
        else:
            yield f"MOUNT {prefix}{getattr(route, 'path', route)}"


@pytest.fixture
def callers(store) -> dict[str, dict[str, str]]:
    """Headers of every kind of caller."""
    made = {
        "expired": tokens.create_token(store, "old", Scope.ADMIN, expires_at=utc_now() - timedelta(seconds=1)),
        "reader": tokens.create_token(store, "reader", Scope.READ),
        "other": tokens.create_token(store, "ben", Scope.SUBMIT),
        "owner": tokens.create_token(store, "anna", Scope.SUBMIT),
        "admin": tokens.create_token(store, "root", Scope.ADMIN),
    }
    return {"nobody": {}} | {who: {"Authorization": f"Bearer {secret}"} for who, secret in made.items()}


def rules_of(application: Any) -> dict[str, set[str]]:
    """The rules, with every route that is read and is not open under READ."""
    ruled = {route for routes in RULES.values() for route in routes}
    read = {route for route in documented(application) if route.startswith("GET ") and route not in ruled}
    return RULES | {READ: RULES[READ] | read}


def test_every_route_that_changes_something_has_a_rule_and_every_rule_a_route(api: TestClient):
    ruled = [route for routes in rules_of(api.app).values() for route in routes]
    assert len(ruled) == len(set(ruled))
    assert set(documented(api.app)) == set(ruled)


def test_every_route_lets_in_whom_its_rule_allows_and_nobody_else(api: TestClient, store, expansion, callers):
    # streams of events end at once, as where the service stops
    api.app.state.closing.set()
    for rule, routes in rules_of(api.app).items():
        for route in sorted(routes):
            method, path = route.split()
            if method == "MOUNT":
                continue
            for who, headers in callers.items():
                one = submissions.create_experiment(store, expansion, owner="anna").id if rule == OWNER else "e999"
                asked = path.replace("{experiment_id}", one).replace("{action}", "pause").replace("{form}", "svg")
                body = BODIES.get(path.rsplit("/", 1)[-1], {})
                answer = api.request(method, asked, headers=headers, json=body, follow_redirects=False)
                refused = answer.status_code in (401, 403)
                # a page asks a browser to sign in; /login refuses wrong secrets by itself
                assert refused != (who in ALLOWED[rule]) or path == "/login", (route, who, answer.status_code)
                if who in ("nobody", "expired") and rule != OPEN:
                    assert answer.status_code == 401, (route, who)
                assert answer.status_code < 500, (route, who)


def test_every_change_is_logged_with_who_made_it(api: TestClient, store, expansion, callers, capsys):
    one = submissions.create_experiment(store, expansion, owner="anna").id
    for verb, who in (("pause", "owner"), ("resume", "admin"), ("cancel", "other")):
        capsys.readouterr()
        api.post(f"{V1}/experiments/{one}/{verb}", headers=callers[who])
        (line,) = [line for line in capsys.readouterr().out.splitlines() if f"/{verb}" in line]
        name = {"owner": "anna", "admin": "root", "other": "ben"}[who]
        logged = json.loads(line)
        assert logged["token"] == logged["owner"] == name and logged["status"]
