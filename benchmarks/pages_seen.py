"""What somebody waits for before a page: figures of 10,000 trials in Chromium, and an experiment of 100,000.

python benchmarks/pages_seen.py [--trials 10000] [--large 100000] [--steps 12]
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import synthetic
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright
from serving import database, serving, show

from service.store.session import open_store

FIGURES = ("curves", "distribution", "scatter", "parallel", "difference", "phase")
HOVERS = 40
# milliseconds that one move of the pointer over the figure keeps the page busy, to the frame after it
HOVER = """async (count) => {
  const place = document.querySelector("#figure canvas"), box = place.getBoundingClientRect(), taken = [];
  for (let n = 0; n < count; n++) {
    const x = box.left + box.width * (0.15 + 0.7 * n / count);
    const y = box.top + box.height * (0.3 + 0.4 * ((n * 7) % count) / count);
    const began = performance.now();
    place.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y, bubbles: true }));
    place.dispatchEvent(new MouseEvent("mousemove", { clientX: x, clientY: y, bubbles: true }));
    await document.getElementById("figure").view.runAsync();
    taken.push(performance.now() - began);
    await new Promise((done) => requestAnimationFrame(done));
  }
  return taken;
}"""
WEIGHT = """() => [performance.getEntriesByType("navigation")[0], ...performance.getEntriesByType("resource")]
  .reduce((sum, one) => sum + one.transferSize, 0)"""
ASKED = """() => performance.getEntriesByType("resource").filter((one) => one.name.includes("figure.json"))
  .map((one) => one.duration)"""
DRAWN = """() => document.querySelector("#figure[data-drawn]")
  && performance.now() - performance.getEntriesByType("navigation")[0].responseEnd"""


def main() -> None:
    """Fill a store, look at its pages, print seconds and bytes with the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=12)
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder, database("sqlite", Path(folder), None) as url:
        made = []
        with open_store(url) as store:
            for trials in filter(None, (chosen.trials, chosen.large)):
                made.append(synthetic.submit(store, trials, chosen.steps + len(made))[0])
                synthetic.write(store, chosen.steps + len(made) - 1)
        with serving(url) as (client, pid), sync_playwright() as playwright:
            root = str(client.base_url).removesuffix("/api/v1/")
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            seen(browser, f"{root}/experiments/{made[0]}", chosen.trials, pid)
            if chosen.large:
                answered(client, f"{root}/experiments/{made[1]}", chosen.large, pid)
            browser.close()


def seen(browser: Browser, address: str, trials: int, pid: int) -> None:
    """Figures of an experiment, each in a window that has kept nothing; on a busy machine processor time says more."""
    print(f"\nfigures of {trials} trials, seconds after the page")
    first = browser.new_context().new_page()
    first.goto(address)
    # a service that has just started still makes the charting library
    show("first figure of a new service", waited(first) / 1e3, "s", None)
    first.context.close()
    for figure in FIGURES:
        page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        metrics, before = page.context.new_cdp_session(page), busy(pid)
        metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(f"{address}?figure={figure}")
        seconds = waited(page) / 1e3
        spent = f"{busy(pid) - before:.2f} s of processor time in the service, {worked(metrics):.2f} in the browser"
        show(figure, seconds, "s", -1.5, more=f"{page.evaluate(ASKED)[0]:.0f} ms of it for its numbers; {spent}")
        if figure in ("curves", "scatter"):
            before = worked(metrics)
            taken = page.evaluate(HOVER, HOVERS)
            each = 1e3 * (worked(metrics) - before) / HOVERS
            show(
                f"{figure}, hover, median", statistics.median(taken), "ms", -50, more=f"{each:.1f} ms of processor time"
            )
            show(f"{figure}, hover, longest", max(taken), "ms", None)
        if figure == FIGURES[0]:
            show("page with its figure, on the wire", page.evaluate(WEIGHT) / 1e3, "kB", -1_200)
        page.context.close()


def waited(page: Page) -> float:
    """Milliseconds from the page's arrival until its figure stands."""
    found: Any = page.wait_for_function(DRAWN, timeout=120_000)
    return float(found.json_value())


def busy(pid: int) -> float:
    """Seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def worked(metrics: CDPSession) -> float:
    """Seconds of processor time that a page's main thread has taken."""
    found = metrics.send("Performance.getMetrics")["metrics"]
    return next(one["value"] for one in found if one["name"] == "TaskDuration")


def answered(client: httpx.Client, address: str, trials: int, pid: int) -> None:
    """The page of a large experiment: at first, and again; and how long its results are being counted."""
    print(f"\nexperiment of {trials} trials")
    first = time.perf_counter()
    for name in ("first look", "second look", "third look"):
        began, before = time.perf_counter(), busy(pid)
        page = client.get(address, timeout=120).raise_for_status().text
        seconds = time.perf_counter() - began
        show(f"page, {name}", seconds, "s", -1, more=f"{busy(pid) - before:.2f} s of processor time in the service")
    while "Being counted" in page:
        page = client.get(address, timeout=120).raise_for_status().text
    show("with its results, after the first look", time.perf_counter() - first, "s", None)


if __name__ == "__main__":
    main()
