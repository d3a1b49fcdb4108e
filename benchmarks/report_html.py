"""How soon the HTML report shows its first table: a simulated report in a real Chromium.

    python benchmarks/report_html.py [--tasks 550] [--rerankers 20] [--queries 5000]

Needs Debian's chromium and playwright. Prints the page's size and the time from opening the file to
the first row of its first table, to all tables, and to all plots, and what a click on a head takes
that sorts all tasks; `--screenshots FOLDER` keeps what the page looks like.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from simulated_report import simulated, views

from rerank_bench.report.html import to_html

if TYPE_CHECKING:
    from playwright.sync_api import Page


_SORT = """() => {
  const head = document.querySelector('#tasks [data-column="gain"] button');
  const start = performance.now();
  head.click();
  document.body.offsetHeight; // laid out anew
  return performance.now() - start;
}"""


def timed(page: Page, address: str) -> dict[str, float]:
    """Open the page and return milliseconds to its stages."""
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    stages = {
        "first row": "#means tbody tr, #tasks tbody tr",
        "all tables": ":root[data-shown]",
        "all plots": ':root[data-shown="all"]',
    }
    found = {}
    for name, selector in stages.items():
        page.wait_for_selector(selector, state="visible", timeout=120_000)
        found[name] = 1000 * (time.perf_counter() - start)
    found["sort of all tasks"] = page.evaluate(_SORT)
    return found


def main() -> None:
    """Make the report, open it several times, and print what that took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("tasks", 550), ("rerankers", 20), ("queries", 5000), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--screenshots", type=Path)
    parser.add_argument("--keep", type=Path, help="write the page here")
    asked = parser.parse_args()
    found = simulated(asked.tasks, asked.rerankers, asked.queries)
    start = time.perf_counter()
    text = to_html(found, views(found))
    spent = time.perf_counter() - start
    print(f"written in {spent:.1f} s, {len(text) / 1e6:.2f} MB, {len(found.values)} rows")
    with tempfile.TemporaryDirectory() as folder:
        path = asked.keep or Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        _measure(path.resolve(), asked)


def _measure(path: Path, asked: argparse.Namespace) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        runs = []
        for _ in range(asked.repeats):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.on("console", lambda message: print("console:", message.text))
            page.on("pageerror", lambda error: print("error:", error))
            runs.append(timed(page, path.as_uri()))
            if asked.screenshots and len(runs) == asked.repeats:
                _look(page, asked.screenshots)
            page.close()
        browser.close()
    for name in runs[0]:
        median = sorted(run[name] for run in runs)[len(runs) // 2]
        print(f"{name}: {median:.0f} ms (median of {len(runs)})")


def _look(page: Page, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / "top.png")
    page.screenshot(path=folder / "light.png", full_page=True)
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=folder / "dark.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 900, "height": 900})
    page.wait_for_timeout(1500)
    page.screenshot(path=folder / "narrow.png", full_page=True)


if __name__ == "__main__":
    main()
