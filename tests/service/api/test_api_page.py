"""Every command of docs/api.md runs as it is printed, and every route of the API stands there."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np

from service.main import create_app

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```\n(curl .*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
    if line
]
GRID = {
    "name": "of the page",
    "trial": {
        "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
        "network": {"width": 4},
        "training": {"steps": 20},
        "measure": {"points": 5, "weights": [20]},
    },
    "axes": {"network.depth": [2, 3], "training.weight_decay": [0, 0.1]},
    "seeds": 2,
}


def test_every_command_of_the_page_runs(port, train_queue, tmp_path):
    (tmp_path / "grid.yaml").write_text(json.dumps(GRID))
    np.savez(tmp_path / "mine.npz", x=np.ones((8, 3)), y=np.ones((8, 2)))
    (tmp_path / "pixels.csv").write_text("label,pixel0,pixel1,pixel2,pixel3\n3,0,1,2,3\n5,4,5,6,7\n")
    assert len(COMMANDS) > 25
    for command in COMMANDS:
        words = shlex.split(command.replace("localhost:8000", f"127.0.0.1:{port}"))
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "30", *words[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        train_queue()
    assert (tmp_path / "sweep.parquet").stat().st_size > 1000 and (tmp_path / "w.safetensors").stat().st_size > 100


def test_every_route_stands_on_the_page():
    for path in create_app().openapi()["paths"]:
        words = [re.escape(word) for word in path.removeprefix("/api/v1").strip("/").split("/")]
        pattern = "/".join("[^/ ]+" if word.startswith(re.escape("{")) else word for word in words)
        assert re.search(rf"/{pattern}(?![\w-])", PAGE), f"{path} is not in docs/api.md"
