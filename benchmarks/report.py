"""Runs the benchmarks again and puts what they print into docs/performance.md and docs/operations.md.

    python benchmarks/report.py [--list] [WORD ..]

The pages' console blocks begin with the command that printed them; a block is run again where its command contains one
of the words (default: all, about an hour on two cores that do nothing else).
"""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs" / "performance.md", ROOT / "docs" / "operations.md")
BLOCK = re.compile(r"```console\n\$ (?P<command>python benchmarks/[^\n]+)\n.*?```", re.DOTALL)


def main() -> None:
    """Run the blocks asked for, one after the other, writing the page after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="parts of the commands to run; default: all")
    parser.add_argument("--list", action="store_true", help="print the commands and run nothing")
    chosen = parser.parse_args()
    commands = [(page, match["command"]) for page in PAGES for match in BLOCK.finditer(page.read_text())]
    for page, command in commands:
        if chosen.words and not any(word in command for word in chosen.words):
            continue
        print(f"$ {command}", flush=True)
        if not chosen.list:
            printed = printed_by(command)
            page.write_text(replaced(page.read_text(), command, printed))


def printed_by(command: str) -> str:
    """What a benchmark prints; shown while it runs."""
    script = [sys.executable, *shlex.split(command)[1:]]
    lines = []
    with subprocess.Popen(script, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}: the page keeps its old numbers")
    return "\n".join(lines).strip("\n")


def replaced(page: str, command: str, printed: str) -> str:
    """The page with what a command printed now."""
    block = f"```console\n$ {command}\n{printed}\n```"
    return BLOCK.sub(lambda match: block if match["command"] == command else match[0], page)


if __name__ == "__main__":
    main()
