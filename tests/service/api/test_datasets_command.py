"""`nfa datasets` against a service that listens."""

import json

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from service.client import ClientError


@pytest.fixture
def nfa(port):
    """Runs a command of `nfa datasets` and answers what it prints."""

    def run(*words):
        ran = CliRunner().invoke(app, ["datasets", *words, "--url", f"http://127.0.0.1:{port}"], terminal_width=200)
        if isinstance(ran.exception, Exception) and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        return ran.output

    return run


def test_a_file_is_uploaded_listed_shown_and_deleted(nfa, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("id,x0,x1,year\n1,2,3,4\n2,5,6,7\n")
    with pytest.raises(ClientError, match=r"\?x="):
        nfa("upload", str(file))
    said = nfa("upload", str(file), "--x", "x0..x1", "--y", "year")
    assert "x (2, 2) from x0, x1" in said and "left out: id" in said and "data: {kind: uploaded, dataset_id: " in said
    (one,) = json.loads(nfa("list", "--json"))
    assert one["id"][:12] in nfa("list") and "x 2x2, y 2x1" in nfa("list")
    assert json.loads(nfa("show", one["id"][:8], "--json")) == one and "from year" in nfa("show", one["id"])
    for wrong in ("zz", ""):
        with pytest.raises(Exception, match="no dataset has an id that begins"):
            nfa("delete", wrong)
    assert "mine is deleted" in nfa("delete", one["id"][:12])
    assert "No datasets" in nfa("list")


def test_labels_are_said_to_be_one_hot(nfa, tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("x0,y\n1,3\n2,5\n")
    assert "labels made one-hot, 2 classes: 3, 5" in nfa("upload", str(file), "--targets", "classes")
