"""A slash behind a call's path changes nothing: no redirect, which would lose a body, comes in between."""

import pytest


@pytest.mark.parametrize("behind", ["", "/", "//"])
def test_a_call_is_answered_with_or_without_a_slash_behind_its_path(api, tiny_grid, behind):
    made = api.post(f"/api/v1/experiments{behind}", json=tiny_grid(), follow_redirects=False)
    assert made.status_code == 201
    root = f"/api/v1/experiments/{made.json()['id']}"
    for path in ("/api/v1/presets", "/api/v1/datasets", root, f"{root}/results"):
        assert api.get(f"{path}{behind}", follow_redirects=False).status_code == 200, path
    assert api.get(f"/api/v1/presets{behind}", params={"format": "x"}, follow_redirects=False).status_code == 200
    table = {"content": "x0,y0\n1,2\n", "headers": {"content-type": "text/csv"}}
    assert api.post(f"/api/v1/datasets{behind}?name=a", **table, follow_redirects=False).status_code == 201
    assert api.delete(f"{root}{behind}", follow_redirects=False).status_code == 204


def test_a_slash_opens_nothing_that_is_closed(api, store):
    from service.store import tokens
    from service.tokens import Scope

    secret = tokens.create_token(store, "reader", Scope.READ)
    for headers, status in (({}, 401), ({"Authorization": f"Bearer {secret}"}, 403)):
        for path in ("/api/v1/experiments", "/api/v1/experiments/"):
            assert api.post(path, json={}, headers=headers, follow_redirects=False).status_code == status
