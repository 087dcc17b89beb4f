"""A device against the CPU, first its numbers and then its speed; writes this card's table into docs/performance.md.

    make gpu, or: PYTHONPATH=. python benchmarks/gpu.py [--device cuda] [--page FILE] [--minutes 7]

Needs torch alone, 2.11 to 2.13; whole trainings are checked too where what trainers need is installed. Ends with 2
without a card, with 1 where a number is wrong: then no table is written. `--device cpu --small` tries the whole script
on the CPU with small sizes, and writes only to a --page that is named.
"""

import argparse
import re
import sys
import time
from pathlib import Path

# sets the arithmetic of the tensor library, as in every trainer, before it is imported
import workers  # noqa: F401

import torch  # isort: skip
from gpu_checks import checks, trainings
from gpu_sweeps import CASES, Case, Found, bandwidth, cores_here, filled, gemm_rate, on_all_cores
from timing import machine

from nfa_kernels import cost

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
HEADING = "## On a GPU"
WRONG, NO_DEVICE = 1, 2
SMALL_CASES = {"small": Case((4, 6, 6, 2), 12, "linear", "float64"), "relu": Case((4, 6, 2), 12, "relu", "float32")}


def no_device(name: str) -> str | None:
    """Why a device cannot be measured; None if it can."""
    if torch.device(name).type != "cuda" or torch.cuda.is_available():
        return None
    built = torch.version.cuda
    why = f"torch {torch.__version__}, built for CUDA {built}, finds no card" if built else "torch is its CPU build"
    return f"no CUDA device: {why}. Nothing was measured and no page changed; `--device cpu --small` tries the script."


def checked(device: str, until: float) -> bool:
    """Print every check; whether all are right."""
    is_right, done = True, 0
    for source in (checks, trainings):
        try:
            for check in source(device):
                is_right, done = is_right and check.is_right, done + 1
                told = f"differs by {check.difference:.1e}, allowed {check.allowed:.0e}"
                print(f"  {check.name:42} {told}{'' if check.is_right else '  WRONG'}", flush=True)
                if time.monotonic() > until:
                    print("  the rest was left out: no time")
                    return is_right
        except ImportError as error:
            print(f"  whole trainings were left out: {error}")
    print(f"  {done} checks\n")
    return is_right


def measured(device: str, cases: dict[str, Case], until: float, *, small: bool, cores: int) -> list[str]:
    """Rows of the table, as many as there is time for."""
    is_cuda = torch.device(device).type == "cuda"
    memory = torch.cuda.mem_get_info(device)[0] if is_cuda else 1 << 30
    seconds, size = (0.02, 64) if small else (0.6, 4096 if is_cuda else 1024)
    moved = bandwidth(device, 1 << 16 if small else 1 << 28, seconds)
    limits = {one: gemm_rate(device, getattr(torch, one), size, seconds) for one in ("float32", "float64")}
    ratio = limits["float32"] / limits["float64"]
    print(f"  {moved / 1e9:.0f} GB/s; large products {rates(limits)}; float64 at 1/{ratio:.3g} of float32\n")
    rows = []
    for name, case in cases.items():
        if time.monotonic() > until:
            print(f"  {name} and what follows was left out: no time")
            break
        found = filled(case, device, memory, seconds, *((2,) if small else ()))
        rows.append(row(name, case, found, on_all_cores(case, cores, seconds), moved, limits[case.dtype]))
        print(f"  {rows[-1]}", flush=True)
        if is_cuda:
            torch.cuda.empty_cache()
    return rows


def rates(limits: dict[str, float]) -> str:
    """The rates of large products."""
    return ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in limits.items())


def row(name: str, case: Case, found: Found, here: Found, moved: float, limit: float) -> str:
    """A case's row of the table."""
    step, operations = found.step_seconds, cost.step_flops(case.shape)
    shares = f"{case.step_bytes / step / moved:.1%} | {operations / step / limit:.1%}"
    against = f"{here.step_seconds / step:.3g}x | {here.measuring_seconds / found.measuring_seconds:.3g}x"
    captured = "-" if found.captured_seconds is None else f"{1e6 * found.captured_seconds:.3g}"
    taken = f"{1e6 * step:.3g} | {captured} | {shares} | {1e6 * found.measuring_seconds:.3g}"
    return f"| {name} | {found.lanes} | {taken} | {against} |"


def section(title: str, rows: list[str]) -> str:
    """The table of one card."""
    columns = ("sweep", "networks", "us a network-step", "captured", "of its bandwidth", "of a large product")
    columns += ("us a measurement", "steps, against this CPU", "measurements")
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    return f"### {title}\n\n{head}\n" + "\n".join(rows) + "\n"


def written(page: str, title: str, table: str) -> str:
    """A page with a card's table under the heading, in place of one that the same card had."""
    before, heading, rest = page.partition(f"{HEADING}\n")
    if not heading:
        return f"{page.rstrip()}\n\n{HEADING}\n\n{table}"
    own, following, after = re.match(r"(.*?)(\n(?=## )|\Z)(.*)", rest, re.DOTALL).groups()  # ty: ignore
    card = title.split(";", maxsplit=1)[0]
    own = re.sub(rf"### {re.escape(card)};.*?(?=\n### |\Z)", "", own, flags=re.DOTALL)
    return f"{before}{heading}{own.rstrip()}\n\n{table}{following}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Check, measure and write; what the process is to end with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--page", type=Path, help="to write to; default: docs/performance.md for a card, else none")
    parser.add_argument("--minutes", type=float, default=7.0, help="after which what is left is left out")
    parser.add_argument("--cores", type=int, default=cores_here(), help="of the CPU to compare with")
    parser.add_argument("--small", action="store_true", help="small sizes, to try the script")
    asked = parser.parse_args(arguments)
    reason = no_device(asked.device)
    if reason:
        print(reason, file=sys.stderr)
        return NO_DEVICE
    torch.set_num_threads(1)
    started, is_cuda = time.monotonic(), torch.device(asked.device).type == "cuda"
    card = torch.cuda.get_device_name(asked.device) if is_cuda else "CPU"
    print(f"{card} against {machine()}\n\nits numbers against the CPU's")
    if not checked(asked.device, started + 30 * asked.minutes):
        print("numbers are wrong: nothing was timed or written", file=sys.stderr)
        return WRONG
    print("its speed")
    cases = SMALL_CASES if asked.small else CASES
    until = started + 60 * asked.minutes
    rows = measured(asked.device, cases, until, small=asked.small, cores=asked.cores)
    page = asked.page or (PAGE if is_cuda and not asked.small else None)
    if page and rows:
        title = f"{card}; {machine()}"
        page.write_text(written(page.read_text() if page.exists() else "", title, section(title, rows)))
        print(f"\nwritten to {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
