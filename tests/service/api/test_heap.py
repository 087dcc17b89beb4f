"""What an application's imports left is not looked through again."""

import gc

from fastapi.testclient import TestClient

from service.heap import settle_heap


def test_an_application_that_has_opened_has_put_its_imports_aside_once(api: TestClient):
    assert api.get("/api/v1/experiments").is_success
    frozen = gc.get_freeze_count()
    assert frozen > 100_000
    made = [list[int]() for _ in range(1000)]
    settle_heap()
    assert gc.get_freeze_count() <= frozen < frozen + len(made)
