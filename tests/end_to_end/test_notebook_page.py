"""The notebook of docs/howto runs as it stands, against a service that runs."""

import re
from pathlib import Path

from service.cli.local_service import running

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "notebook.md").read_text()


def test_every_block_runs_and_the_study_comes_to_what_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NFA_DATABASE_URL", raising=False)
    with running(tmp_path / "home", "127.0.0.1", 0, lambda _: None) as service:
        monkeypatch.setenv("NFA_URL", service.url)
        names: dict[str, object] = {}
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "docs/howto/notebook.md", "exec"), names)
    said = capsys.readouterr().out
    assert "24 networks" in said
    assert "with weight decay the start does not matter: True" in said
    assert re.search(r"completed \d\d measured steps", said)
    assert "6 series at once" in said
    assert "24 more networks" in said
    assert "3 go on from step 300, 0 begin again" in said
    assert names["frame"].shape == names["table"].shape  # ty: ignore[missing-attribute]
    assert '"type": "line"' in names["chart"].to_json()  # ty: ignore[missing-attribute]
