"""Alerts and dashboard are about what GET /metrics tells, and fire when they should; promtool says so."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from installed import installed

from service.main import create_app
from service.settings import Settings
from service.store import cluster, schema
from service.store.session import open_store

FOLDER = Path(__file__).parents[2] / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
NAME = re.compile(r"\bnfa_[a-z_]+\b")


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What /metrics answers where a dispatcher is known and a request was made."""
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'nfa.db'}") as store:
        schema.upgrade(store)
        cluster.register_dispatcher(store, "d", "h", 1, 2, {"stacks": [{"stack": "s", "trials": 3}]})
        with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
            client.get("/api/v1/experiments")
            yield client.get("/metrics").text


def _promtool(*words: str, given: str | None = None) -> str:
    tool = installed("promtool", package="prometheus")
    done = subprocess.run([tool, *words], cwd=FOLDER, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _questions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def test_every_alert_fires_when_it_should_and_stays_silent_otherwise() -> None:
    _promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in _promtool("test", "rules", "alerts_test.yml")
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    looks = [look for test in tests for look in test["alert_rule_test"]]
    alerts = {rule["alert"] for rule in _rules()}
    assert {look["alertname"] for look in looks if look.get("exp_alerts")} == alerts
    assert {look["alertname"] for look in looks if not look.get("exp_alerts")} == alerts


def test_metrics_are_well_formed(exposed: str) -> None:
    _promtool("check", "metrics", given=exposed)


def test_alerts_and_dashboard_ask_for_metrics_that_there_are(exposed: str) -> None:
    there = set(re.findall(r"^(nfa_[a-z_]+)", exposed, re.M))
    asked = {name for text in (*_questions(), *(rule["expr"] for rule in _rules())) for name in NAME.findall(text)}
    assert asked and asked <= there, asked - there


def test_every_question_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:question_{place}", "expr": text.replace("$__rate_interval", "5m")}
        for place, text in enumerate(_questions())
    ]
    file = tmp_path / "questions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in _promtool("check", "rules", str(file))


def test_panels_have_titles_explanations_places_and_the_chosen_source() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24 and panel["description"]
        taken |= cells
        assert all(target["datasource"]["uid"] == "${source}" for target in panel["targets"])
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["source"]
