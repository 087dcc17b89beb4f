"""Pages without a browser: what they answer, what they escape, and that their forms do what the API does."""

import re
from threading import Event

import pytest

from service.store import cluster, results
from service.web import experiment_page

NAME = "<script>alert(1)</script>"


@pytest.fixture
def trained(submit, train_queue):
    created = submit(name=NAME)
    train_queue()
    return created["id"]


def test_names_are_text_on_every_page(api, trained):
    trial = api.get(f"/api/v1/experiments/{trained}/trials").json()["items"][0]["id"]
    for address in (
        "/",
        f"/experiments/{trained}",
        f"/trials/{trial}",
        "/submit",
        "/cluster",
        "/definitions",
        "/login",
    ):
        page = api.get(address)
        assert page.status_code == 200, address
        assert NAME not in page.text
        assert "unsafe" not in page.headers["content-security-policy"]
    assert "&lt;script&gt;alert(1)" in api.get("/").text


TRAINER = {"pid": 1, "host": "lab", "node": "f" * 56, "torch": "2.13.0", "device": "cpu", "processor": "one"}
OF_CARDS = {
    "cpu": {"memory_bytes": None},
    "cpu as 0.1 told of it": {},
    "slow card": {"device": "RTX", "memory_bytes": 8 * 2**30, "warning": "float64 is slow"},
    "card that cannot be used": {"memory_bytes": None, "error": "no CUDA"},
}


@pytest.mark.parametrize("told", OF_CARDS.values(), ids=OF_CARDS)
def test_trainers_of_every_kind_stand_on_the_page_of_the_cluster(api, store, told):
    cluster.register_dispatcher(store, "d", "lab", 1, 2, {"trainers": [TRAINER | told]})
    page = api.get("/cluster")
    assert page.status_code == 200
    assert "2.13.0" in page.text
    for known in ("warning", "error"):
        assert told.get(known, "") in page.text
    assert ("8.0 GiB" in page.text) == (told.get("device") == "RTX")


def test_a_figure_is_answered_as_a_specification_and_as_files(api, trained):
    for figure in ("curves", "imbalance", "exponent"):
        spec = api.get(f"/experiments/{trained}/figure.json", params={"figure": figure})
        assert spec.status_code == 200, spec.text
        assert spec.json()["title"]["text"] == NAME
    for form, start in (("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        assert api.get(f"/experiments/{trained}/figure.{form}").content.startswith(start)


def test_a_figure_that_cannot_be_drawn_says_why(api, trained):
    phase = {"figure": "phase"}
    told = api.get(f"/experiments/{trained}/figure.json", params=phase)
    assert told.status_code == 200 and "two" in told.json()["nothing"]
    nobody = api.get(f"/experiments/{trained}/figure.json", params={"where": "seed > 99"}).json()["nothing"]
    assert "no completed trial that matches seed > 99 with alignment in layer 1" in nobody and "measure" not in nobody
    refused = api.get(f"/experiments/{trained}/figure.svg", params=phase)
    assert refused.status_code == 404 and told.json()["nothing"] in refused.text


def test_a_figure_of_a_layer_that_was_not_measured_says_which_were(api, submit, train_queue, tiny_grid):
    grid = tiny_grid()
    made = submit(trial=grid["trial"] | {"measure": {"points": 3, "layers": "first"}})["id"]
    train_queue()
    told = api.get(f"/experiments/{made}/figure.json", params={"layer": 2}).json()["nothing"]
    assert told.endswith("in layer 2 to draw; measure.layers of the grid is first")
    assert "nothing" not in api.get(f"/experiments/{made}/figure.json", params={"layer": 1}).json()


def test_a_wrong_filter_is_explained_on_the_page(api, trained):
    page = api.get(f"/experiments/{trained}", params={"trials_where": "bogus = 1"})
    assert page.status_code == 200
    assert 'role="alert"' in page.text


def test_a_page_without_claims_waits_for_no_verdicts(api, submit, monkeypatch):
    monkeypatch.setattr(experiment_page, "_WAITING_SECONDS", 0.0)
    made = submit(claims=[])
    assert "Being judged" not in api.get(f"/experiments/{made['id']}").text


def test_the_results_of_many_trials_are_counted_while_the_rest_of_the_page_is_there(api, trained, monkeypatch):
    may_count, counted = Event(), results.group_table
    monkeypatch.setattr(experiment_page, "_COUNTED_AT_ONCE", 0)
    monkeypatch.setattr(experiment_page, "_WAITING_SECONDS", 0.0)
    monkeypatch.setattr(experiment_page.results, "group_table", lambda *asked: may_count.wait(10) and counted(*asked))
    page = api.get(f"/experiments/{trained}").text
    assert 'id="results" data-live="poll"' in page and "Being counted" in page and 'aria-label="Tick t1"' in page
    may_count.set()
    monkeypatch.setattr(experiment_page, "_WAITING_SECONDS", 10.0)
    page = api.get(f"/experiments/{trained}").text
    assert 'id="results" data-live=""' in page and 'id="result-table"' in page


def test_what_does_not_exist_is_answered_by_a_page(api):
    page = api.get("/experiments/e999")
    assert page.status_code == 404
    assert "<h1>" in page.text and "no experiment e999; it was mistyped, or deleted" in page.text


def test_a_grid_is_previewed_and_submitted_by_a_form(api):
    grid = "name: by form\ntrial: {training: {steps: 10}}\nseeds: 2\n"
    assert "2 trials, 2 new" in api.post("/submit", data={"grid": grid, "do": "preview"}).text
    answer = api.post("/submit", data={"grid": grid, "do": "submit"}, follow_redirects=False)
    assert answer.status_code == 303
    assert api.get("/api/v1/" + answer.headers["location"]).json()["name"] == "by form"


def test_a_wrong_grid_comes_back_with_what_is_wrong(api):
    page = api.post("/submit", data={"grid": "axes: {network.dept: [2]}", "do": "submit"})
    assert page.status_code == 422
    assert "network.depth" in page.text
    assert page.text.count("did you mean") == 1
    both = api.post("/submit", data={"grid": "axes: {network.dept: [2], network.widht: [2]}", "do": "submit"}).text
    # the summary has the first, the list each at its place
    assert both.count("did you mean") == 3


def test_buttons_steer_an_experiment(api, submit):
    number = submit()["id"]
    for action, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        answer = api.post(f"/experiments/{number}/{action}", follow_redirects=False)
        assert answer.status_code == 303, answer.text
        assert api.get(f"/api/v1/experiments/{number}").json()["state"] == state
    api.post(f"/experiments/{number}/retry", data={"which": "cancelled"})
    extension = {"path": "training.weight_decay", "values": "0.2, 0.3", "seeds": ""}
    api.post(f"/experiments/{number}/extend", data=extension)
    assert api.get(f"/api/v1/experiments/{number}").json()["counts"]["queued"] == 12
    assert api.post(f"/experiments/{number}/explode").status_code == 422


def test_the_charting_library_comes_from_here_and_is_kept(api):
    answer = api.get("/static/web/vega.js")
    assert "immutable" in answer.headers["cache-control"]
    assert len(answer.text) > 100_000


def test_a_trial_runs_alone_with_the_grid_on_its_page(api, trained):
    import html
    import re

    trial = api.get(f"/api/v1/experiments/{trained}/trials").json()["items"][0]["id"]
    found = re.search(r'<pre id="grid"[^>]*>(.*?)</pre>', api.get(f"/trials/{trial}").text, re.DOTALL)
    assert found
    body = html.unescape(found[1]).encode()
    preview = api.post("/api/v1/experiments/preview", content=body, headers={"Content-Type": "application/json"})
    assert preview.json()["trials"] == preview.json()["reused"] == 1


def test_an_unknown_address_is_a_page_to_browsers_and_a_problem_to_programs(api):
    page = api.get("/nothing/here", headers={"Accept": "text/html"})
    assert page.status_code == 404 and "There is no such page" in page.text
    for address, accept in (("/nothing/here", "*/*"), ("/api/v1/nothing", "text/html")):
        answer = api.get(address, headers={"Accept": accept})
        assert answer.status_code == 404 and answer.json()["code"] == "not_found"


def test_the_charting_library_is_small_on_the_wire_and_is_not_sent_twice(api):
    first = api.get("/static/web/vega.js")
    assert first.headers["content-encoding"] == "gzip" and int(first.headers["content-length"]) < 400_000
    again = api.get("/static/web/vega.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content


def test_a_trials_measurements_are_drawn_and_its_grid_is_a_file(api, trained):
    trial = api.get(f"/api/v1/experiments/{trained}/trials").json()["items"][0]["id"]
    spec = api.get(f"/trials/{trial}/figure.json").json()
    assert len(spec["concat"]) > 5
    grid = api.get(f"/trials/{trial}/grid.json")
    assert f'filename="{trial}.json"' in grid.headers["content-disposition"]
    assert grid.json()["seeds"] == [0]


def test_signing_out_forgets_the_token(api):
    answer = api.post("/logout", follow_redirects=False)
    assert answer.status_code == 303
    assert 'nfa_token=""' in answer.headers["set-cookie"] and "Max-Age=0" in answer.headers["set-cookie"]


FOUR_AXES = {
    "training.weight_decay": [0.1, 0],
    "network.width": [4, 6],
    "network.depth": [2, 3],
    "network.activation": ["tanh", "relu", "linear"],
}


@pytest.fixture
def four_axes(submit, train_queue):
    """48 trials: 24 settings with two seeds each."""
    made = submit(axes=FOUR_AXES, seeds=2, notes="# Why\n\nto *see*")
    train_queue()
    return made["id"]


def told(api, experiment, **asked):
    """The subtitle of a figure as one text, and its rows."""
    spec = api.get(f"/experiments/{experiment}/figure.json", params=asked).json()
    subtitle = spec["title"]["subtitle"]
    return subtitle if isinstance(subtitle, str) else " ".join(subtitle), spec


def test_a_figure_tells_every_axis_apart_and_names_what_it_pools(api, four_axes):
    said, spec = told(api, four_axes)
    assert "median of 2 seeds" in said and "pooled" not in said
    rows = spec["data"]["values"] if "values" in spec.get("data", {}) else next(iter(spec["datasets"].values()))
    assert len({(row["color"], row["dash"], row["facet"]) for row in rows}) == 24
    assert list(dict.fromkeys(row["color"] for row in sorted(rows, key=lambda row: row["x"]))) == ["0", "0.1"]
    panels = spec["facet"]["sort"]
    assert panels[:3] == [f"depth L = 2, activation = {word}" for word in ("tanh", "relu", "linear")]
    said, _ = told(api, four_axes, dash="none", facet="network.width")
    assert "12 trials: 2 seeds x 6 settings; pooled over depth, activation" in said
    for figure, pooled in (("phase", "width, depth"), ("exponent", "width, activation")):
        said, _ = told(api, four_axes, figure=figure)
        assert f"pooled over {pooled}" in said, figure


def test_notes_are_rendered_on_the_page(api, four_axes):
    assert "<h4>Why</h4>" in api.get(f"/experiments/{four_axes}").text


def test_a_trials_page_leads_to_its_experiments_and_neighbours(api, four_axes, submit):
    other = submit(axes=FOUR_AXES, seeds=1, name="the same")["id"]
    where = "network.activation == relu and network.width == 4 and network.depth == 2 and seed == 0"
    asked = {"where": where, "sort": "axes"}
    found = api.get(f"/api/v1/experiments/{four_axes}/trials", params=asked).json()["items"]
    page = api.get(f"/trials/{found[0]['id']}", params={"experiment": four_axes}).text
    assert f'href="../experiments/{four_axes}"' in page and f'href="../experiments/{other}"' in page
    table = page[page.index('id="neighbours"') : page.index("</table>", page.index('id="neighbours"'))]
    linked = re.findall(r'trials/(t\d+)\?experiment=e\d+">([^<]+)<', table)
    # decay, width and depth have one value more, the activation one on each side, and there is one seed more
    assert [value for _, value in linked] == ["0.1", "6", "3", "tanh", "linear", "1"]
    deeper = api.get(f"/api/v1/trials/{linked[2][0]}").json()
    assert deeper["seed"] == 0 and deeper["settings"]["network"]["depth"] == 3
    assert deeper["settings"]["network"]["activation"] == "relu"


def test_a_verdict_about_groups_names_the_worst_of_them(api, submit, train_queue):
    group = {"by": ["training.weight_decay"], "agg": "mean", "is": ">= 2"}
    made = submit(claims=[{"id": "g", "metric": "alignment", "group": group, "gate": "none"}])["id"]
    train_queue()
    worst = api.get(f"/api/v1/experiments/{made}/verdicts").json()["items"][0]["worst_group"]
    page = api.get(f"/experiments/{made}").text
    section = page[page.index('id="verdicts"') : page.index('id="results"')]
    assert f"training.<wbr>weight_decay = {worst['training.weight_decay']:g}" in section


def test_what_diverged_is_said_to_be_left_out(api, submit, train_queue):
    made = submit(axes={"training.learning_rate": [0.01, 1e6]}, seeds=1)["id"]
    train_queue()
    assert "over the 1 that completed; 1 left out" in api.get(f"/experiments/{made}").text


def test_what_nobody_trains_says_so_until_it_has_ended(api, submit, train_queue):
    made = submit(seeds=1)["id"]
    assert "is alive: nothing trains until one is started (nfa up)." in api.get(f"/experiments/{made}").text
    train_queue()
    assert "No dispatcher is alive" not in api.get(f"/experiments/{made}").text


def test_what_does_not_measure_the_alignment_is_shown_by_what_it_measures(api, submit, train_queue, tiny_grid):
    grid = tiny_grid(seeds=2)
    measure = {"points": 3, "metrics": ["modes", "residual"], "layers": [2]}
    made = submit(**(grid | {"trial": grid["trial"] | {"measure": measure}}))["id"]
    train_queue()
    page = api.get(f"/experiments/{made}").text
    assert "Final residual by setting, layer 2" in page and '<option value="residual" selected' in page
    found = re.findall(r'data-label="residual">([^<]*)<', page)
    assert found and "-" not in found
    assert "nothing" not in api.get(f"/experiments/{made}/figure.json").json()
    beside = api.get("/compare", params={"experiments": f"{made},{submit(name='other')['id']}"})
    assert beside.status_code == 200 and "Final residual, layer 2" in beside.text


def test_a_results_table_is_sorted_narrowed_and_shaded_by_its_address(api, trained):
    asked = {"table_metric": "train_loss", "agg": "mean,median", "order": "-mean", "hide": "incomplete"}
    page = api.get(f"/experiments/{trained}", params=asked | {"shade": True, "reduce": "first"}).text
    table = page.partition('id="result-table"')[2].partition("</table>")[0]
    assert re.findall(r'class="sorts"[^>]*>([^<]*)<', table) == ["weight_decay", "mean", "median"]
    rows = api.get(
        f"/api/v1/experiments/{trained}/results", params={"metric": "train_loss", "reduce": "first", "agg": "mean"}
    ).json()["items"]
    sorted_rows = sorted(rows, key=lambda row: -row["train_loss_mean"])
    found = re.findall(r'data-label="weight_decay">([^<]*)<', table)
    assert found == [f"{row['training.weight_decay']:g}" for row in sorted_rows]
    assert 'aria-sort="descending"' in table
    # as a form without JavaScript has fields that are empty
    unsorted = api.get(f"/experiments/{trained}", params={"order": "bogus", "table_layer": "", "reduce": "", "agg": ""})
    assert unsorted.status_code == 200 and "no column bogus" in unsorted.text


@pytest.mark.parametrize(
    ("axes", "edges"),
    [
        ({"training.learning_rate": [0.01, 0.02]}, {200.0, 100.0}),
        ({"training.weight_decay": [0, 0.1]}, {40.0}),
        ({"training.optimizer": ["gd", "adam"]}, {40.0, None}),
    ],
)
def test_sharpness_is_drawn_with_the_edge_of_stability(api, submit, train_queue, tiny_grid, axes, edges):
    measure = {"points": 3, "metrics": ["sharpness"]}
    grid = tiny_grid(axes=axes, seeds=2)
    training = {"steps": 20, "learning_rate": 0.05}
    experiment = submit(**(grid | {"trial": grid["trial"] | {"measure": measure, "training": training}}))["id"]
    train_queue()
    spec = api.get(f"/experiments/{experiment}/figure.json", params={"metric": "sharpness"}).json()
    rows = spec["data"]["values"]
    assert {row["theory"] for row in rows} == edges and all(row["median"] > 0 for row in rows)
    assert spec["title"]["subtitle"].endswith("dashed: 2 / learning rate")
    assert api.get(f"/experiments/{experiment}?metric=sharpness").status_code == 200
