"""Pages of docs/howto and the commands of the gallery run as they stand, against one service that runs."""

import copy
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from nfa_command import nfa
from shown import GALLERY, sweeps
from typer.testing import CliRunner

from service.cli.local_service import running
from service.cli.main import app
from service.client import Client
from service.grid.document import parse_document

DOCS = Path(__file__).parents[2] / "docs"

PAGES = ("first_sweep", "own_data", "any_network", "cite_it")
BLOCK = re.compile(r"(?:`(?P<file>\w+\.yaml)`:\n\n)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.DOTALL)


class Block(NamedTuple):
    kind: str
    text: str
    file: str | None


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NFA_DATABASE_URL", raising=False)
        with running(tmp_path_factory.mktemp("tutorials"), "127.0.0.1", 0, lambda _: None) as service:
            yield service.url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all pages: who reads them stays in a folder."""
    return tmp_path_factory.mktemp("reader")


def _blocks(page: str) -> list[Block]:
    text = (DOCS / "howto" / f"{page}.md").read_text()
    return [Block(found["kind"], found["text"], found["file"]) for found in BLOCK.finditer(text)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_tutorial_runs(page: str, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NFA_URL", url)
    said = ""
    for block in _blocks(page):
        if block.kind == "yaml":
            assert block.file is not None, "a grid without the name of its file"
            Path(block.file).write_text(block.text)
        elif block.kind == "python":
            exec(compile(block.text, f"docs/howto/{page}.md", "exec"), {})
        else:
            for line in block.text.splitlines():
                words = shlex.split(line)
                assert words[0] == "nfa", line
                # a process of its own, which test_nfa_up.py starts
                if words != ["nfa", "up"]:
                    ran = nfa(*words[1:], environment={"NFA_URL": url})
                    assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
                    said += ran.stdout
    expected = {
        "first_sweep": r"12 trials.*holds restored: with weight decay the ansatz",
        "own_data": r"flowers.*accuracy",
        "any_network": r"graph, 828 parameters.*c2\.png",
        "cite_it": r"reruns",
    }
    assert re.search(expected[page], " ".join(said.split()), re.DOTALL), said


def test_the_tutorials_leave_what_they_say(folder: Path) -> None:
    for name in ("alignment.png", "phase.pdf", "study.zip", "figure.pdf", "figure.csv", "c2.png", "accuracy.png"):
        assert (folder / name).stat().st_size > 100, name
    assert (folder / "theirs" / "nfa.db").exists()


def test_every_block_of_the_notebook_runs_and_the_study_comes_to_what_the_page_says(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NFA_URL", url)
    names: dict[str, Any] = {}
    for block in _blocks("notebook"):
        if block.kind == "python":
            exec(compile(block.text, "docs/howto/notebook.md", "exec"), names)
    said = capsys.readouterr().out
    assert "24 networks" in said
    assert "with weight decay the start does not matter: True" in said
    assert re.search(r"completed \d\d measured steps", said)
    assert "6 series at once" in said
    assert "24 more networks" in said
    assert "3 go on from step 300, 0 begin again" in said
    assert names["frame"].shape == names["table"].shape
    assert '"type": "line"' in names["chart"].to_json()


def test_the_searches_of_the_page_about_boundaries_find_what_theory_says(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NFA_URL", url)
    page = (DOCS / "howto" / "boundaries.md").read_text()
    lost, seeds, *_ = (block.text for block in _blocks("boundaries") if block.kind == "yaml")
    with Client(url) as client:
        second = client.submit(parse_document(seeds.encode())).id
        client.wait(second)
        Path("lost.yaml").write_text(lost)
        for command in re.findall(r"^nfa (.*)$", page, re.MULTILINE):
            ran = CliRunner().invoke(app, command.split())
            assert ran.exit_code == 0, ran.output
        assert "boundary of" in ran.output and "depth = 3" in ran.output
        first = next(client.experiments()).id
        assert client.experiment(first).state == "completed"
        (block,) = (block.text for block in _blocks("boundaries") if block.kind == "python")
        exec(compile(block, "docs/howto/boundaries.md", "exec"), {})
        said = capsys.readouterr().out
        assert "{'network.depth': 2}" in said and re.search(r"\d+ rounds", said)
        found = client.fits(first)
        for one, theory in zip(found.boundaries, [3.0, 2.0444], strict=True):
            (bracket,) = one.brackets
            assert one.is_found and bracket.value == pytest.approx(theory, rel=0.01)
            assert one.tried < 370 / 10
        estimates = client.fits(second).estimates
        assert all(one.is_certain or one.seeds == 40 for one in estimates)
        assert all(5 <= one.seeds <= 40 for one in estimates)


def test_every_command_of_the_gallery_draws_its_figure(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same grids, with fewer seeds and shorter: what is drawn is another test's matter."""
    monkeypatch.chdir(tmp_path)
    runs: dict[str, str] = {}
    with Client(url) as client:
        for name, grid in sweeps().items():
            runs[name] = client.submit(_smaller(grid)).id
        for one in runs.values():
            client.wait(one)
    for shown in GALLERY:
        assert (DOCS / "pictures" / f"{shown.name}.png").exists()
        ran = nfa(*shlex.split(shown.command(runs[shown.sweep]))[1:], environment={"NFA_URL": url})
        assert ran.returncode == 0, f"{shown.name}: {ran.stdout}{ran.stderr}"
        assert Path(f"{shown.name}.png").read_bytes().startswith(b"\x89PNG")


def _smaller(grid: dict[str, Any]) -> dict[str, Any]:
    small = copy.deepcopy(grid)
    small["seeds"] = 1
    small["trial"]["training"] |= {"steps": 40}
    small["trial"]["measure"] |= {"points": 3}
    small.pop("claims", None)
    return small
