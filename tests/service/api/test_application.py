"""The application as a whole: what it imports, what it documents, and what it says when its store is not right."""

import re
import subprocess
import sys
import threading

from fastapi.testclient import TestClient
from sqlalchemy import text

from service.main import create_app
from service.settings import Settings
from service.store.session import open_store


def test_importing_the_application_leaves_torch_ray_and_alembic_out():
    code = "import sys, service.main; print([m for m in ('torch', 'ray', 'workers', 'alembic') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_route_is_documented_with_a_summary_and_a_description(api):
    document = api.get("/openapi.json").json()
    calls = [(path, method, call) for path, item in document["paths"].items() for method, call in item.items()]
    assert len(calls) > 20
    assert [
        (path, method) for path, method, call in calls if not (call.get("summary") and call.get("description"))
    ] == []
    schemas = document["components"]["schemas"]
    assert {"Problem", "TrialBody", "Preview"} <= set(schemas)


def test_health_and_readiness(api, store):
    assert api.get("/healthz").json()["status"] == "ok"
    ready = api.get("/readyz")
    assert ready.status_code == 200 and ready.json()["schema_revision"]
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    unready = api.get("/readyz")
    assert unready.status_code == 503 and unready.json()["code"] == "schema_mismatch"
    assert "9999" in unready.json()["detail"]


def test_an_application_that_is_opened_twice_ends_what_it_began_both_times(store):
    app = create_app(Settings(), store)

    def open_twice() -> None:
        with TestClient(app), TestClient(app):
            pass

    opener = threading.Thread(target=open_twice, daemon=True)
    opener.start()
    opener.join(60)
    assert not opener.is_alive(), "it waits for work that nobody has ended"


def test_a_store_that_cannot_be_reached_is_a_503_that_may_be_tried_again(tmp_path):
    settings = Settings(database_url="postgresql://nobody@127.0.0.1:1/none")
    with (
        open_store(settings.store_url) as unreachable,
        TestClient(create_app(settings, unreachable), base_url="http://127.0.0.1") as api,
    ):
        for path in ("/readyz", "/api/v1/experiments"):
            answer = api.get(path)
            assert answer.status_code == 503 and answer.json()["code"] == "store_unavailable"
            assert answer.headers["retry-after"] == "1"
            assert "nobody" not in answer.text
        assert api.get("/healthz").status_code == 200


def test_the_reference_page_and_all_it_loads_come_from_the_service_itself(api):
    page = api.get("/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) >= 2
    for address in loaded:
        assert address.startswith("/") and api.get(address).status_code == 200
