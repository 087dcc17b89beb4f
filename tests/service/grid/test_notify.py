"""Whom a grid has told, and what is wrong with it."""

import pytest

from service.errors import InvalidGrid
from service.grid.expansion import expand
from service.grid.notify import Hook, read_notify
from service.grid.problems import Problems

URL = "https://example.org/hook"


def test_entries_say_who_is_told_of_what_and_the_end_is_told_by_default():
    problems = Problems()
    found = read_notify(
        [{"url": URL}, {"url": URL + "2", "on": ["verdict", "failed"]}, {"url": "http://x:8/", "on": "end"}], problems
    )
    assert not problems
    assert found == (Hook(URL, ("end",)), Hook(URL + "2", ("failed", "verdict")), Hook("http://x:8/", ("end",)))


@pytest.mark.parametrize(
    ("entry", "place", "told"),
    [
        (URL, "", "must be a mapping"),
        ({}, ".url", "must be an address"),
        ({"url": 3}, ".url", "must be an address"),
        ({"url": "ftp://example.org"}, ".url", "must be an address"),
        ({"url": "file:///etc/passwd"}, ".url", "must be an address"),
        ({"url": "https://exa mple.org"}, ".url", "must be an address"),
        ({"url": "https://example.org/\r\nHost: x"}, ".url", "must be an address"),
        ({"url": "https://bücher.example"}, ".url", "must be an address"),
        ({"url": "https://" + "a" * 2000}, ".url", "must be an address"),
        ({"url": "https://[::1"}, ".url", "cannot be read"),
        ({"url": "https://example.org:99999/"}, ".url", "cannot be read"),
        ({"url": "https:///path"}, ".url", "names no host"),
        ({"url": "https://me:secret@example.org"}, ".url", "name or password"),
        ({"url": "https://example.org/#part"}, ".url", "never sent"),
        ({"url": URL, "on": []}, ".on", "must be a list"),
        ({"url": URL, "on": {"end": 1}}, ".on", "must be a list"),
        ({"url": URL, "on": ["ended"]}, ".on", "did you mean end"),
        ({"url": URL, "on": [["end"]]}, ".on", "unknown event"),
        ({"url": URL, "when": "end"}, ".when", "unknown key"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told_at_its_place(entry, place, told):
    problems = Problems()
    read_notify([{"url": "https://other.org"}, entry], problems)
    with pytest.raises(InvalidGrid) as refused:
        problems.raise_as(InvalidGrid)
    first = refused.value.errors[0]
    assert first["path"] == f"notify[1]{place}" and told in first["message"]


def test_an_address_is_named_once_and_a_grid_tells_every_wrong_field(tiny_grid):
    with pytest.raises(InvalidGrid) as refused:
        expand(tiny_grid(notify=[{"url": URL}, {"url": URL}, {"url": "x"}], seeds=0))
    assert {one["path"] for one in refused.value.errors} == {"notify[1].url", "notify[2].url", "seeds"}
    with pytest.raises(InvalidGrid):
        expand(tiny_grid(notify=[{"url": f"{URL}/{n}"} for n in range(11)]))


def test_who_is_told_makes_no_other_trials(tiny_grid):
    plain, told = (expand(grid) for grid in (tiny_grid(), tiny_grid(notify=[{"url": URL}])))
    assert [one[3] for one in plain.trials()] == [one[3] for one in told.trials()]
