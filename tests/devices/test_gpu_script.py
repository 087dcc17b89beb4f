"""`make gpu` where there is no card: on the CPU with small sizes, on a stand-in, and with torch alone."""

import os
import subprocess
import sys
from pathlib import Path

import gpu
import gpu_checks
import pytest
import torch
from absent_gpu import AbsentGPU
from absent_graphs import absent_graphs
from gpu_sweeps import Case, Found, Runner, captured_seconds, filled

ROOT = Path(__file__).parents[2]
TORCH_ALONE = """
import sys, importlib.abc
class Without(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"ray", "pyarrow", "sqlalchemy", "pydantic", "structlog", "yaml", "pytest"}:
            raise ImportError(f"No module named {name!r}")
sys.meta_path.insert(0, Without())
import gpu
sys.exit(gpu.main(sys.argv[1:]))
"""


def test_the_whole_script_runs_on_the_cpu_with_torch_alone_and_writes_its_table(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\n## On a GPU\n\nWords.\n\n## Pages\n\nMore.\n")
    options = ["--device", "cpu", "--small", "--cores", "1", "--page", str(page)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", TORCH_ALONE, *options], capture_output=True, text=True, check=False, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    assert "whole trainings were left out: No module named" in ran.stdout and "WRONG" not in ran.stdout
    written = page.read_text()
    assert written.startswith("# Performance\n\n## On a GPU\n\nWords.\n\n### CPU; ")
    assert written.endswith("\n\n## Pages\n\nMore.\n") and written.count("| small | ") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_it_says_so_and_changes_no_page(capsys, tmp_path):
    page = tmp_path / "page.md"
    assert gpu.main(["--page", str(page)]) == gpu.NO_DEVICE
    assert "no CUDA device: torch" in capsys.readouterr().err and not page.exists()


def test_a_wrong_number_ends_it_before_anything_is_timed(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "checks", lambda device: [gpu_checks.Check("two and two", 1.0, 1e-9)])
    monkeypatch.setattr(gpu, "trainings", lambda device: [])
    assert gpu.main(["--device", "cpu", "--small"]) == gpu.WRONG
    printed = capsys.readouterr()
    assert "two and two" in printed.out and "WRONG" in printed.out and "its speed" not in printed.out


def test_what_it_checks_is_right_on_a_device():
    with AbsentGPU():
        found = [gpu_checks._steps("adamw", "cuda:0", torch.float64, 1e-9), gpu_checks._alone("cuda:0")]
        found += [gpu_checks._resumed("cuda:0"), gpu_checks._whole_products("cuda:0")]
    assert all(check.is_right for check in found)


def test_captured_steps_are_held_against_launched_ones_and_timed_on_a_device(monkeypatch):
    monkeypatch.setattr("workers.captured.SETTLED_STEPS", 8)
    monkeypatch.setattr("gpu_sweeps.synchronised", lambda device: None)
    case = Case((4, 6, 6, 2), 12, "linear", "float64", "adam")
    with AbsentGPU() as device, absent_graphs(device) as graphs:
        found = gpu_checks.captured("adam", "relu", "cuda:0", 20)
        taken = captured_seconds(case, Runner(case, "cuda:0", 2), 2, 0.001)
        assert graphs.counts["captured"] == 2 and taken is not None and taken > 0
        # steps that are compared with themselves show nothing
        monkeypatch.setattr("workers.captured._is_close", lambda replayed, plain: False)
        assert found.is_right and not gpu_checks.captured("adam", "relu", "cuda:0", 20).is_right


def test_numbers_that_differ_and_numbers_that_are_none_are_seen():
    one = torch.tensor([1.0, 2.0, torch.nan])
    assert gpu_checks.differences(one, one) == 0
    assert gpu_checks.differences(one, torch.tensor([1.0, 2.3, torch.nan])) == pytest.approx(0.1)
    assert gpu_checks.differences(one, torch.tensor([1.0, 2.0, 3.0])) == float("inf")
    assert not gpu_checks.Check("", float("nan"), 1.0).is_right


def test_stacks_grow_no_further_than_memory_allows():
    case = Case((4, 6, 6, 2), 12, "linear", "float64")
    assert filled(case, "cpu", 16 * case.lane_bytes, 0.001, first=4).lanes <= 8


def test_a_card_replaces_its_own_table_and_no_others():
    case, found = Case((4, 6, 6, 2), 12, "linear", "float64"), Found(64, 1e-6, 1e-5)
    line = gpu.row("small", case, found, Found(8, 5e-6, 2e-5), 1e12, 1e13)
    assert gpu.row("small", case, found._replace(captured_seconds=5e-7), found, 1e12, 1e13).startswith(
        "| small | 64 | 1 | 0.5 | "
    )
    assert line.startswith("| small | 64 | 1 | - | ") and line.endswith(" | 10 | 5x | 2x |")
    page = "# Performance\n\n## On a GPU\n\nWords.\n\n## Pages\n"
    for title in ("A; first", "B; first", "A; second"):
        page = gpu.written(page, title, gpu.section(title, [line]))
    assert [one for one in page.splitlines() if one.startswith("#")] == [
        *("# Performance", "## On a GPU", "### B; first", "### A; second", "## Pages")
    ]
    assert gpu.written("# Performance\n", "A; x", gpu.section("A; x", [line])).count("## On a GPU") == 1
