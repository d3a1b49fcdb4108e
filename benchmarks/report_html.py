"""How soon the HTML report is readable: a simulated report in a real Chromium.

    python benchmarks/report_html.py [--tasks 550] [--rerankers 20] [--queries 5000]

Needs Debian's chromium and playwright. Prints the page's size and the milliseconds from opening the
file to its first tab, then to each other tab after a click on it, and from a click on a head to the
sorted table of all tasks. `--screenshots FOLDER` writes what each tab looks like in a wide window,
in the dark and on a phone.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from simulated_report import simulated, views

from rerank_bench.report.html import to_html

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LOOKS = {"wide": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "light")}
"""Width in pixels and colours of each screenshot."""


def spent(action: Callable[[], object]) -> float:
    """Return the milliseconds that an action takes."""
    start = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - start)


def show(page: Page, tab: str) -> None:
    """Click a tab and wait until all of it is drawn."""
    page.get_by_role("tab", name=tab, exact=True).click()
    page.wait_for_selector(f':root[data-shown="{tab}"]', timeout=120_000)


def opened(page: Page, address: str) -> None:
    """Open the page and wait until its first tab is drawn."""
    page.goto(address, wait_until="commit")
    page.wait_for_selector(":root[data-shown]", timeout=120_000)


def sort(page: Page) -> None:
    """Sort the table of all tasks by gain."""
    page.locator('#tasks th[data-column="gain"] [role=button]').press("Enter")
    page.wait_for_selector('#tasks th[data-column="gain"][aria-sort]', timeout=120_000)


def timed(page: Page, address: str) -> dict[str, float]:
    """Return milliseconds by what was waited for."""
    found = {"opening": spent(lambda: opened(page, address))}
    for tab in page.get_by_role("tab").all_inner_texts():
        found[tab] = spent(lambda tab=tab: show(page, tab))
        if tab == "Results":
            found["sorting all tasks"] = spent(lambda: sort(page))
    return found


def measure(browser: Browser, address: str, repeats: int) -> None:
    """Print the median times of several openings."""
    runs = []
    for _ in range(repeats):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.on("console", lambda message: print("console:", message.text))
        page.on("pageerror", lambda error: print("error:", error))
        runs.append(timed(page, address))
        page.close()
    for name in runs[0]:
        print(f"{name}: {median(run[name] for run in runs):.0f} ms (median of {repeats})")


def photograph(browser: Browser, address: str, folder: Path) -> None:
    """Write a picture of each tab in each of the LOOKS."""
    folder.mkdir(parents=True, exist_ok=True)
    for look, (width, scheme) in LOOKS.items():
        page = browser.new_page(viewport={"width": width, "height": 850}, color_scheme=scheme)
        opened(page, address)
        for tab in page.get_by_role("tab").all_inner_texts():
            show(page, tab)
            page.screenshot(path=folder / f"{look}-{tab}.png", full_page=True)
        page.close()


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
    seconds = time.perf_counter() - start
    print(f"written in {seconds:.1f} s, {len(text) / 1e6:.2f} MB, {len(found.values)} rows")
    with tempfile.TemporaryDirectory() as folder:
        path = asked.keep or Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        drive(path.resolve().as_uri(), asked)


def drive(address: str, asked: argparse.Namespace) -> None:
    """Measure and photograph the page at an address."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        measure(browser, address, asked.repeats)
        if asked.screenshots:
            photograph(browser, address, asked.screenshots)
        browser.close()


if __name__ == "__main__":
    main()
