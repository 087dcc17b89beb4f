"""Whatever is wrong with a request is answered with a short problem document, and nothing is stored."""

import json

import pytest

ROOT = "/api/v1/experiments"
SCRIPT = "<script>alert(1)</script>"


def check_problem(answer, status, code):
    """A problem document of at most 8 KiB with this status and code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) <= 8192
    found = answer.json()
    assert found["code"] == code and found["status"] == status and found["detail"]
    return found


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        (f"{ROOT}/e1/results?metrics=train_loss", "metric"),
        ("/api/v1/trials/t1/measurements?metric=train_loss", "metrics"),
        (f"{ROOT}?limitt=3", "limit"),
    ],
)
def test_a_misspelt_query_parameter_is_told_which_one_is_meant(shared_api, path, meant):
    found = check_problem(shared_api.get(path), 422, "invalid_request")
    assert f"did you mean {meant}?" in found["detail"]
    assert found["errors"][0]["nearest"] == meant and meant in found["errors"][0]["allowed"]


def test_a_query_parameter_that_is_like_none_is_left_alone(shared_api):
    assert shared_api.get("/api/v1/cluster?verbose=1").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", f"{ROOT}/e999", 404, "not_found"),
        ("GET", f"{ROOT}/e0", 404, "not_found"),
        ("GET", f"{ROOT}/e99999999999999999999999", 404, "not_found"),
        ("GET", f"{ROOT}/..%2f..%2fetc", 404, "not_found"),
        ("GET", f"{ROOT}/%00", 422, "invalid_request"),
        ("GET", "/api/v1/trials/t1", 404, "not_found"),
        ("GET", "/api/v1/trials/t1/measurements", 404, "not_found"),
        ("GET", f"{ROOT}/e1/results", 404, "not_found"),
        ("GET", f"{ROOT}/e1/curves", 404, "not_found"),
        ("GET", f"{ROOT}/e1/verdicts", 404, "not_found"),
        ("GET", f"{ROOT}/e1/trials", 404, "not_found"),
        ("GET", "/api/v1/presets/weight-deca", 404, "not_found"),
        ("GET", "/api/v1/datasets/abc", 404, "not_found"),
        ("POST", f"{ROOT}/e1/cancel", 404, "not_found"),
        ("POST", f"{ROOT}/e1/pause", 404, "not_found"),
        ("DELETE", f"{ROOT}/e1", 404, "not_found"),
        ("PUT", ROOT, 405, "method_not_allowed"),
        ("GET", f"{ROOT}?limit=0", 422, "invalid_request"),
        ("GET", f"{ROOT}?limit=1000000", 422, "invalid_request"),
        ("GET", f"{ROOT}?limit=NaN", 422, "invalid_request"),
        ("GET", f"{ROOT}?cursor=bm9uc2Vuc2U", 422, "invalid_request"),
        ("GET", f"{ROOT}?cursor=%F0%9F%92%A3", 422, "invalid_request"),
        ("GET", f"{ROOT}?state=runing", 422, "invalid_request"),
        ("GET", f"{ROOT}?q=%00", 422, "invalid_request"),
        ("GET", f"{ROOT}?tag=a%00", 422, "invalid_request"),
    ],
)
def test_wrong_addresses_and_parameters_are_refused(shared_api, method, path, status, code):
    check_problem(shared_api.request(method, path), status, code)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("metric=aligment", "alignment"),
        ("metric=", "metric"),
        ("metric=best_exponent_kind", "number"),
        ("group_by=network.dept", "network.depth"),
        ("agg=avg", "mean"),
        ("reduce=last", "final"),
        ("reduce=mean_last:0", "mean_last"),
        ("layer=0", "layer"),
        ("where=network.depth ==", "column"),
        ("where=network.dept == 3", "network.depth"),
        ("where=" + "(" * 3000, "column"),
        ("where=name == '; drop table trial; --", "column"),
    ],
)
def test_wrong_questions_name_what_exists(api, submit, query, told):
    one = submit()["id"]
    code = "invalid_filter" if query.startswith("where") else "invalid_request"
    found = check_problem(api.get(f"{ROOT}/{one}/results?{query}"), 422, code)
    assert told in json.dumps(found)


@pytest.mark.parametrize("path", ["", "/preview"])
@pytest.mark.parametrize(
    ("body", "media", "status", "code"),
    [
        (b"", "application/json", 422, "invalid_grid"),
        (b"{", "application/json", 422, "invalid_grid"),
        (b"[1]", "application/json", 422, "invalid_grid"),
        (b'{"name": NaN}', "application/json", 422, "invalid_grid"),
        (b'{"trial": {"training": {"learning_rate": 1e999}}}', "application/json", 422, "invalid_grid"),
        (b'{"name": "\\ud800"}', "application/json", 422, "invalid_grid"),
        (b'{"name": "a\\u0000b"}', "application/json", 422, "invalid_grid"),
        (b"\xff\xfe", "application/yaml", 422, "invalid_grid"),
        (b"[" * 50_000, "application/json", 422, "invalid_grid"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "application/yaml", 422, "invalid_grid"),
        (b"name: !!python/object/apply:os.system [id]", "application/yaml", 422, "invalid_grid"),
        (b"name: a\nname: b", "application/yaml", 422, "invalid_grid"),
        (b'{"seeds": 1000000000}', "application/json", 422, "invalid_grid"),
        (b'{"axes": {"training.steps": {"linear": [1, 2, 1e18]}}}', "application/json", 422, "invalid_grid"),
        (b'{"trial": {"network": {"width": 100000000}}}', "application/json", 422, "invalid_grid"),
        (b'{"name": "x"}', "text/html", 415, "unsupported_media_type"),
        (b" " * 100_000, "application/json", 413, "too_large"),
    ],
)
def test_hostile_grids_are_refused_and_leave_nothing(shared_api, path, body, media, status, code):
    found = check_problem(shared_api.post(ROOT + path, content=body, headers={"content-type": media}), status, code)
    assert "Traceback" not in json.dumps(found)
    assert shared_api.get(ROOT).json()["items"] == []


def test_a_grid_that_is_wrong_in_several_places_is_told_all_of_them(shared_api, tiny_grid):
    grid = tiny_grid(axes={"training.weight_decya": [0], "network.depth": []}, seeds=0)
    found = check_problem(shared_api.post(ROOT, json=grid), 422, "invalid_grid")
    paths = {entry["path"] for entry in found["errors"]}
    assert {"axes.training.weight_decya", "axes.network.depth", "seeds"} <= paths
    nearest = {entry["path"]: entry.get("nearest") for entry in found["errors"]}
    assert nearest["axes.training.weight_decya"] == "training.weight_decay"


def test_markup_and_sql_in_names_is_data(api, submit):
    for text in (SCRIPT, "'; DROP TABLE trial; --", "../../etc/passwd", "\u202e\u0007name", "🙂" * 50):
        one = submit(name=text, tags=[text[:90]])
        assert api.get(f"{ROOT}/{one['id']}").json()["name"] == text
        assert api.get(ROOT, params={"q": text}).json()["items"][0]["name"] == text
        assert api.get(ROOT, params={"tag": text[:90]}).json()["items"]


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"not a zip", "application/x-npz", 422),
        (b"PK\x03\x04" + b"\0" * 100, "application/x-npz", 422),
        (b"x0,y0\n1,nan\n", "text/csv", 422),
        (b"", "text/csv", 422),
        (b"x0,y0\n1,2\n", "text/plain", 415),
        (b"0" * 300_000, "application/x-npz", 413),
    ],
)
def test_wrong_uploads_are_refused(shared_api, body, media, status):
    answer = shared_api.post("/api/v1/datasets", params={"name": "x"}, content=body, headers={"content-type": media})
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
    assert shared_api.get("/api/v1/datasets").json()["items"] == []


def test_pickles_in_uploads_are_never_loaded(shared_api):
    import io

    import numpy as np

    class Trap:
        def __reduce__(self):
            return exec, ("raise SystemExit('unpickled')",)

    held = io.BytesIO()
    np.savez(held, x=np.array([Trap()], dtype=object), y=np.ones((1, 1)))
    headers = {"content-type": "application/x-npz"}
    answer = shared_api.post("/api/v1/datasets", params={"name": "x"}, content=held.getvalue(), headers=headers)
    check_problem(answer, 422, "invalid_dataset")


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "a\\u0000"}',
        b'{"notes": "\\ud800"}',
        b'{"priority": 1e999}',
        b'{"tags": [""]}',
        b"[1]",
        b"{",
        b"null",
        b"\xff\xfe",
    ],
)
def test_changes_that_cannot_be_stored_are_refused(api, submit, body):
    one = f"{ROOT}/{submit()['id']}"
    check_problem(api.patch(one, content=body, headers={"content-type": "application/json"}), 422, "invalid_request")
    assert api.get(one).json()["name"] == "tiny"


@pytest.mark.parametrize("body", [b"", b"grid=", b"grid=a:%20[", b"{}", b"\xff=\xff", b"grid=%00", b"a=1&" * 200])
def test_wrong_forms_are_answered_with_a_page_that_says_so(shared_api, body):
    for path in ("/submit", "/login", "/experiments/e999/pause"):
        answer = shared_api.post(path, content=body)
        assert 400 <= answer.status_code < 500, (path, answer.status_code)
        assert answer.headers["content-type"].startswith("text/html")
