"""The documentation site: no page is left out, and a fault in one is an error. `make check` builds all of it."""

import json
from pathlib import Path

import pytest
from make_site import FETCHED, NotBuilt, build
from site_pages import NAVIGATION, PageMissing, write_pages

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    write_pages(folder)
    return folder


def test_every_page_of_docs_has_its_place_and_what_is_asked_for_is_there(written: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert (written / page.relative_to(ROOT / "docs")).read_text() == page.read_text()
    assert {"Tutorials", "Gallery", "Reference", "Clusters"} <= set(NAVIGATION)
    document = json.loads((written / "reference" / "openapi.json").read_text())
    rest = (written / "reference" / "rest.md").read_text()
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"### `{method.upper()} {path}`\n" in rest
    kernels = (written / "reference" / "kernels.md").read_text()
    assert "::: nfa_kernels.alignment\n" in kernels and "inherited_members" in (
        (written / "reference" / "client.md").read_text()
    )


def test_each_figure_of_the_gallery_stands_with_its_command_and_its_grid(written: Path) -> None:
    page = (written / "gallery.md").read_text()
    for picture in (ROOT / "docs" / "pictures").glob("*.png"):
        if picture.stem != "experiment":
            assert f"(pictures/{picture.name})" in page and f"--out {picture.name}" in page, picture.name
    assert page.count('??? note "The grid') == page.count("\n## ") == page.count("```yaml") == 3


def test_a_page_that_no_menu_leads_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(NAVIGATION, "Performance")
    with pytest.raises(PageMissing, match=r"not in NAVIGATION: \['performance.md'\]"):
        write_pages(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[away](nowhere.md)", "page does not exist"),
        ("[away](index.md#nowhere)", "anchor does not exist"),
        ("::: nfa_kernels.nowhere", "nfa_kernels.nowhere"),
        ("<img src='https://elsewhere.example/a.png' alt=''>", "fetches from another host"),
    ],
)
def test_a_fault_in_a_page_is_an_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.md").write_text(f"# Title\n\n{text}\n")
    with pytest.raises(NotBuilt, match=said):
        build(tmp_path, {"Title": "index.md"})


def test_a_page_without_fault_is_built_and_fetches_nothing(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.md").write_text("# Title\n\n[out](https://arxiv.org/abs/2510.15563)\n")
    built = build(tmp_path, {"Title": "index.md"})
    assert tmp_path / "html" / "index.html" in built
    assert FETCHED.search("<link rel=stylesheet href='https://fonts.googleapis.com/css'>")
