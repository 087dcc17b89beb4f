"""What is ticked on the list: asked about first, then done to all of them or to none."""

import html

import pytest
from fastapi.testclient import TestClient

from service.grid.expansion import expand
from service.main import create_app
from service.settings import Settings
from service.store import control, submissions, tokens
from service.tokens import Scope
from service.web.bulk import ACTIONS


def _states(api):
    return {one["id"]: (one["state"], one["tags"]) for one in api.get("/api/v1/experiments").json()["items"]}


def _do(api, action, ids, **more):
    headers = more.pop("headers", {})
    form = {"action": action, "experiments": ids} | more
    return api.post("/bulk", data=form, headers=headers, follow_redirects=False)


@pytest.mark.parametrize("action", ACTIONS)
def test_the_question_names_what_is_ticked_and_changes_nothing(api, submit, action):
    ids = [submit(name=f"<b>one {n}</b>")["id"] for n in range(2)]
    before = _states(api)
    page = api.get("/bulk", params={"action": action, "experiments": [*ids, ids[0], "e99"]})
    assert page.status_code == 200 and page.text.count('name="experiments"') == 2
    assert "<b>one" not in page.text and f"Yes, {action}" in page.text
    assert _states(api) == before


def test_each_action_is_done_to_every_one_of_them(api, submit):
    ids = [submit(name=f"one {n}", tags=["kept"])["id"] for n in range(3)]
    assert _do(api, "tag", ids[:2], tag=" new ").headers["location"] == "./"
    assert {one: tags for one, (_, tags) in _states(api).items()} == {
        ids[0]: ["kept", "new"],
        ids[1]: ["kept", "new"],
        ids[2]: ["kept"],
    }
    _do(api, "tag", ids[:1], tag="new")
    assert _states(api)[ids[0]][1] == ["kept", "new"]
    for action, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert _do(api, action, ids).status_code == 303
        assert {state for state, _ in _states(api).values()} == {state}
    # one that is gone already stops no other
    assert _do(api, "delete", ["e99", *ids[:2]]).status_code == 303
    assert list(_states(api)) == [ids[2]]


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"action": "explode"}, "cancel, pause"),
        ({"action": "cancel", "experiments": []}, "tick 1 to 200"),
        ({"action": "tag", "tag": "  "}, "1 to 100 characters"),
        ({"action": "tag", "tag": "x" * 101}, "1 to 100 characters"),
        ({"action": "tag", "tag": "a\0b"}, "NUL"),
    ],
)
def test_what_cannot_be_done_says_why(api, submit, form, told):
    one = submit()["id"]
    before = _states(api)
    answer = api.post("/bulk", data={"experiments": [one]} | form, follow_redirects=False)
    assert answer.status_code in (400, 422) and told in html.unescape(answer.text)
    assert _states(api) == before


def test_more_tags_than_there_may_be_are_told_beside_those_that_were_given(api, submit):
    full = submit(name="full", tags=[f"tag {n}" for n in range(50)])["id"]
    other = submit(name="other", seeds=4)["id"]
    answer = _do(api, "tag", [full, other], tag="one more")
    assert answer.status_code == 422 and "50 tags" in answer.text and other not in answer.text
    assert "one more" in _states(api)[other][1] and "one more" not in _states(api)[full][1]


def test_a_full_queue_of_one_of_them_is_told_and_the_others_go_on(store, tiny_grid):
    large, small = (submissions.create_experiment(store, expand(tiny_grid(seeds=n))).id for n in ([*range(10, 15)], 2))
    for one in (large, small):
        control.pause_experiment(store, one)
    with TestClient(create_app(Settings(max_queued=6), store), base_url="http://127.0.0.1") as client:
        answer = _do(client, "resume", [large, small])
        assert answer.status_code == 422 and f"{large}: " in answer.text and "10 unfinished" in answer.text
        assert [_states(client)[one][0] for one in (large, small)] == ["paused", "queued"]


def test_whoever_may_not_change_one_of_them_changes_none(api, store, expansion):
    mine = submissions.create_experiment(store, expansion, owner="ben").id
    foreign = submissions.create_experiment(store, expansion, owner="anna").id
    headers = {"Authorization": f"Bearer {tokens.create_token(store, 'ben', Scope.SUBMIT)}"}
    assert _do(api, "delete", [mine, foreign], headers=headers).status_code == 403
    ids = [one["id"] for one in api.get("/api/v1/experiments", headers=headers).json()["items"]]
    assert ids == [foreign, mine]


def test_trials_that_are_ticked_or_match_are_opened_as_a_grid_of_these(api, submit):
    one = submit()["id"]
    items = api.get(f"/api/v1/experiments/{one}/trials").json()["items"]
    asked = {"experiment": one, "trials": [items[0]["id"], items[4]["id"]]}
    assert "2 trials of e1" in api.get("/submit", params=asked).text
    matching = {"experiment": one, "selected": True, "where": "training.weight_decay > 0", "state": "queued"}
    page = html.unescape(api.get("/submit", params=matching).text)
    text = page.split("<textarea")[1].split(">", 1)[1].split("</textarea>")[0]
    told = api.post("/api/v1/experiments/preview", content=text, headers={"Content-Type": "application/yaml"}).json()
    assert (told["trials"], told["new"]) == (3, 0)
    none = api.get("/submit", params=matching | {"where": "training.weight_decay > 9"})
    assert none.status_code == 422 and "no trial matches" in none.text
