"""The page about boundaries runs as it stands, against a service that runs."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.local_service import running
from service.cli.main import app
from service.client import Client
from service.grid.document import parse_document

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "boundaries.md").read_text()


def test_the_pages_searches_find_what_theory_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NFA_DATABASE_URL", raising=False)
    seeds = parse_document(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1].encode())
    with running(tmp_path / "home", "127.0.0.1", 0, lambda _: None) as service, Client(service.url) as client:
        monkeypatch.setenv("NFA_URL", service.url)
        second = client.submit(seeds).id
        client.wait(second)
        Path("lost.yaml").write_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
        for command in re.findall(r"^nfa (.*)$", PAGE, re.MULTILINE):
            ran = CliRunner().invoke(app, command.split())
            assert ran.exit_code == 0, ran.output
        assert "boundary of" in ran.output and "depth = 3" in ran.output
        first = next(client.experiments()).id
        assert client.experiment(first).state == "completed"
        (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
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
