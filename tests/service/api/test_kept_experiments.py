"""What people keep of experiments: stars, notes, tags, a search over them, and views of a page."""

import pytest

ROOT = "/api/v1/experiments"
VIEW = {"figure": "phase", "where": 'network.activation == "tanh" & x', "order": "-mean"}


def _found(api, **asked):
    answer = api.get(ROOT, params=asked)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["items"]]


def test_a_search_reads_names_notes_and_tags_in_any_case(api, submit):
    ids = [
        submit(name="Plain", notes="The Jacobian was **flat**.")["id"],
        submit(name="jacobian sweep")["id"],
        submit(name="Third")["id"],
        submit(name="100% other")["id"],
    ]
    for number, tags in ((2, ["to-JACOBIAN", "paper"]), (3, ["50%"])):
        api.patch(f"{ROOT}/{ids[number]}", json={"tags": tags})
    assert _found(api, q="jacobian") == [ids[2], ids[1], ids[0]]
    assert _found(api, q="paper") == [ids[2]] and _found(api, q="%") == [ids[3]] and _found(api, q='"') == []
    assert f"experiments/{ids[0]}" in api.get("/?q=FLAT").text


def test_a_star_is_set_taken_away_and_asked_for(api, submit):
    one, other = submit(name="one")["id"], submit(name="two")["id"]
    assert api.patch(f"{ROOT}/{one}", json={"starred": True}).json()["starred"] is True
    assert (_found(api, starred=True), _found(api, starred=False)) == ([one], [other])
    form = {"starred": "false", "shown": "figure=phase"}
    page = api.post(f"/experiments/{one}/star", data=form, follow_redirects=False)
    assert page.headers["location"] == f"../{one}?figure=phase"
    assert _found(api, starred=True) == []


def test_name_tags_and_notes_are_written_on_the_page(api, submit):
    one = submit()["id"]
    form = {"name": " Better ", "tags": "a, b ,,a b", "notes": "# Seen\n<script>x</script>"}
    page = api.post(f"/experiments/{one}/describe", data=form)
    kept = api.get(f"{ROOT}/{one}").json()
    assert (kept["name"], kept["tags"]) == ("Better", ["a", "b", "a b"]) and kept["notes"].startswith("# Seen")
    assert "<h4>Seen</h4>" in page.text and "<script>x" not in page.text
    refused = api.post(f"/experiments/{one}/describe", data=form | {"name": " "})
    assert refused.status_code == 422 and "name" in refused.text


def test_a_view_is_saved_replaced_listed_and_deleted(api, submit):
    one = submit()["id"]
    made = [api.post(f"{ROOT}/{one}/views", json={"name": name, "parameters": VIEW}) for name in ("b", "a")]
    assert [answer.status_code for answer in made] == [201, 201]
    again = api.post(f"{ROOT}/{one}/views", json={"name": "b", "parameters": {"figure": "curves"}}).json()
    items = api.get(f"{ROOT}/{one}/views").json()["items"]
    assert [(view["name"], view["parameters"]) for view in items] == [("a", VIEW), ("b", {"figure": "curves"})]
    assert api.delete(f"{ROOT}/{one}/views/{again['id']}").status_code == 204
    gone = api.delete(f"{ROOT}/{one}/views/{again['id']}")
    assert gone.status_code == 404 and "GET /experiments" in gone.json()["detail"]
    assert [view["name"] for view in api.get(f"{ROOT}/{one}/views").json()["items"]] == ["a"]


def test_views_go_with_their_experiment_and_belong_to_no_other(api, submit):
    one, other = submit(name="one")["id"], submit(name="two")["id"]
    view = api.post(f"{ROOT}/{one}/views", json={"name": "a", "parameters": VIEW}).json()
    assert api.delete(f"{ROOT}/{other}/views/{view['id']}").status_code == 404
    assert api.delete(f"{ROOT}/{one}").status_code == 204
    assert api.get(f"{ROOT}/{other}/views").json()["items"] == []
    assert api.get(f"{ROOT}/{one}/views").status_code == 404


def test_the_page_saves_what_its_address_says_and_leads_back_to_it(api, submit):
    one = submit()["id"]
    form = {"view": "phase of tanh", "shown": "figure=imbalance&where=seed+%3C+2&hide=a%2Cb"}
    api.post(f"/experiments/{one}/save-view", data=form)
    view = api.get(f"{ROOT}/{one}/views").json()["items"][0]
    assert view["parameters"] == {"figure": "imbalance", "where": "seed < 2", "hide": "a,b"}
    page = api.get(f"/experiments/{one}").text
    assert f"/experiments/{one}?figure=imbalance&amp;hide=a%2Cb&amp;where=seed+%3C+2" in page
    api.post(f"/experiments/{one}/delete-view", data={"view": view["id"]})
    assert api.get(f"{ROOT}/{one}/views").json()["items"] == []


@pytest.mark.parametrize("form", [{"view": ""}, {"view": "x" * 101}, {"view": "x", "shown": "a=1&" * 70}])
def test_a_view_without_a_fit_name_is_refused_on_the_page(api, submit, form):
    refused = api.post(f"/experiments/{submit()['id']}/save-view", data=form)
    assert refused.status_code == 422 and "1 to 100" in refused.text
