"""The example of docs/mathematics.md runs as it stands and prints what the page says."""

import re
from pathlib import Path

from nfa_kernels import names

PAGE = (Path(__file__).parents[2] / "docs" / "mathematics.md").read_text()


def test_the_example_prints_alignments_next_to_theory(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "docs/mathematics.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    found = [[float(number) for number in re.findall(r"\d+\.\d+", line)] for line in lines]
    assert [round(row[0], 3) for row in found] == [round(0.2 * step / 9, 3) for step in range(10)]
    assert found[0][1] < 0.7
    assert all(abs(row[1] - 1) < 1e-3 and abs(row[2] - 1 / 3) < 0.01 for row in found[1:])


def test_every_metric_is_defined_on_the_page():
    assert [name for name in (*names.METRICS, *names.METRIC_FAMILIES) if f"`{name}`" not in PAGE] == []
