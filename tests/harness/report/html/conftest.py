"""A small report that has something of everything, names that would do harm, and a browser."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rerank_bench.evaluation import (
    MEASURES,
    MICRO,
    CalibrationRow,
    Claim,
    ClaimRow,
    Evaluation,
    Group,
    LatencyRow,
    OrderRow,
    QueryRow,
    StratumRow,
    records,
    results_of,
)
from rerank_bench.inspect.exchanges import Exchange
from rerank_bench.inspect.replay import QueryView, ViewDocument
from rerank_bench.report.html import to_html

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, ViewportSize

HOSTILE = "<b>b</b></script><img src=x onerror=\"window.harmed='yes'\"> & %{x} {{ 7*7 }}"
WIDE: ViewportSize = {"width": 1400, "height": 900}
TASKS = ("Nano/de", "Nano/en")
PROFILES = ("bm25", "dense")
RERANKERS = ("good", "harmful", "broken", "random", HOSTILE)
MEANT = {"good": 0.2, "harmful": -0.1, "broken": 0.3, "random": -0.2, HOSTILE: 0.05}
LEFT_OUT = f"Nano/de · bm25 · {HOSTILE}: 2 variants without the run itself"


def row(task: str, profile: str, reranker: str, measure: str) -> dict[str, Any]:
    """One reranker's row; `good` is starred, `broken` invalid, `random` a floor."""
    first = 0.4 if profile == "bm25" else 0.5
    gain, main = MEANT[reranker] + (0.01 if task == "Nano/de" else 0.0), measure == MEASURES[0]
    starred = main and reranker == "good"
    return {
        "task": task,
        "profile": profile,
        "origin": "computed",
        "resolved": profile,
        "reranker": reranker,
        "measure": measure,
        "queries": 50,
        "first_stage": first,
        "natural": first + gain,
        "safeguarded": first + gain + 0.05,
        "ceiling": 0.9,
        "ceiling_safeguarded": 0.95,
        "gain": gain,
        "gain_low": gain - 0.04,
        "gain_high": gain + 0.04,
        "gain_safeguarded": gain + 0.05,
        "headroom_captured": gain / (0.9 - first),
        "wins": 20,
        "ties": 20,
        "losses": 10,
        "decided": 2,
        "safeguards": 3,
        "failed": 2 if reranker == "harmful" else 0,
        "calls_per_query": 100.0,
        "rounds": 1.0,
        "prompt_tokens": 0 if reranker == "random" else 100_000,
        "output_tokens": 50,
        "seconds_per_query": 0.5 if reranker == "good" else 0.25,
        "hardware": "slow machine" if reranker == "harmful" else "fast machine",
        "ideal_flops": None if reranker == "random" else 2e12,
        "p": 0.0001 if starred else 0.5,
        "p_holm": (0.001 if starred else 1.0) if main and reranker != "random" else None,
        "starred": starred,
        "family": "4 rerankers x 2 profiles of Nano" if main and reranker != "random" else "",
        "noise": 0.002 if reranker == "good" else None,
        "floor": reranker == "random",
        "invalid": "a label was not found" if reranker == "broken" else None,
        "repaired": 4 if reranker == HOSTILE else 0,
        "counts": {"repaired": 4, "generations": 50} if reranker == HOSTILE else {},
    }


def query(task: str, profile: str, reranker: str, n: int) -> QueryRow:
    """One query whose best positive moves from rank n to rank 1; the last one has failed."""
    return QueryRow(
        task=task,
        profile=profile,
        reranker=reranker,
        query_id=f"q{n}",
        language=task[-2:],
        first_stage=0.3,
        natural=0.0 if n == 9 else 0.8,
        safeguarded=0.8,
        rank_before=n,
        rank_after=None if n == 9 else 1,
        safeguard=n == 2,
        failed=n == 9,
        repaired=int(n == 3),
    )


def view(reranker: str) -> QueryView:
    """A query with a positive that rose, a safeguard, hostile texts and a repaired answer."""
    documents = (
        ViewDocument(
            "good-doc", "the harbour of 1872", 3, 1, 2.5, 1, positive=True, safeguard=False
        ),
        ViewDocument(HOSTILE, HOSTILE, 1, 2, 1.25, 0, positive=False, safeguard=False),
        ViewDocument("plain", "word " * 200, 2, 3, None, None, positive=False, safeguard=False),
        ViewDocument("guard", "appended", 4, 4, -1.0, 1, positive=True, safeguard=True),
    )
    exchanges = (
        Exchange(1, "Generate", HOSTILE, HOSTILE, repaired=True),
        Exchange(2, "Generate", "rank these", "[1] > [2]"),
    )
    return QueryView(
        "Nano/de", "bm25", reranker, "q3", HOSTILE, documents, exchanges,
        {"repaired": 1}, None, 0.5, 1.0,
    )  # fmt: skip


@pytest.fixture(scope="session")
def found() -> Evaluation:
    """Two tasks of one data set, two profiles, five rerankers, all measures, every small table."""
    whole = [(p, r, m) for p in PROFILES for r in RERANKERS for m in MEASURES]
    rows = [row(task, *rest) for task in TASKS for rest in whole]
    means = [row("Nano/en", *rest) | {"task": "Nano", "tasks": 2, "queries": 100} for rest in whole]
    recall = {
        "task": TASKS[0], "profile": "bm25", "origin": "computed", "measure": MICRO, "queries": 50,
        "first_stage": 0.9, "published": 0.91,
    }  # fmt: skip
    claim = Claim("good", "m", "Nano/de", 50, "bm25", 0.4, MEASURES[0], 0.6, HOSTILE, 0.02, "")
    return Evaluation.of(
        rows,
        means,
        [recall],
        groups=(Group("Nano", TASKS, (("bm25", "half", "1 of 2 tasks"),)),),
        orders=(OrderRow(TASKS[0], "bm25", "good", ("first-stage", "reverse"), 0.6, 0.01, 0.9,
                         tuple(0.2 - 0.02 * i for i in range(10))),),
        calibrations=(CalibrationRow(TASKS[0], "bm25", "good", "MAP@20", 0.5, 0.25, -0.125),),
        latencies=(LatencyRow(TASKS[0], "bm25", "good", 20, 0.125, 0.5, "fast machine"),),
        strata=tuple(StratumRow(task, "bm25", "good", "language", task[-2:], 25, 0.4, 0.6, 0.2)
                     for task in TASKS),
        queries=tuple(query(task, profile, "good", n)
                      for task in TASKS for profile in PROFILES for n in range(1, 10)),
        claims=(ClaimRow(claim, TASKS[0], "bm25", "good", 0.61, within=True),),
        left_out=(LEFT_OUT,),
    )  # fmt: skip


@pytest.fixture
def changed(found: Evaluation) -> Callable[..., Evaluation]:
    """Return the same report with other values of the reranker `good`, in tasks and means."""

    def change(**good: Any) -> Evaluation:
        results, means = (
            results_of(
                [one | (good if one["reranker"] == "good" else {}) for one in records(r.rows())]
            )
            for r in (found.results, found.means)
        )
        return replace(found, results=results, means=means)

    return change


@pytest.fixture(scope="session")
def views() -> tuple[QueryView, ...]:
    """One query of two rerankers."""
    return view("good"), view("harmful")


@pytest.fixture(scope="session")
def hostile() -> str:
    """A text that does harm where it is taken for markup, a template or a plot's label."""
    return HOSTILE


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A system's own chromium; playwright's download is not needed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@dataclass
class Opened:
    """The page, what it logged or threw, and which addresses it requested."""

    page: Page
    address: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def show(self, state: str) -> Page:
        """Show a state by the fragment of the address, with all that is on its tab."""
        self.page.evaluate(
            "hash => { delete document.documentElement.dataset.shown; location.hash = hash; }",
            f"{state}&test={next(_NUMBERS)}",
        )
        return drawn(self.page)

    def head(self, section: str, name: str) -> Locator:
        """Return the head of a column."""
        return self.page.locator(f'#{section} thead th[data-column="{name}"]')

    def heads(self, section: str) -> list[str]:
        """Return the names of a table's columns."""
        return self.page.locator(f"#{section} thead th").evaluate_all(
            "all => all.map(head => head.dataset.column)"
        )

    def column(self, section: str, name: str) -> list[str]:
        """Return the texts of a column."""
        place = self.heads(section).index(name) + 1
        cells = self.page.locator(f"#{section} tbody tr > :nth-child({place})")
        return [text.strip() for text in cells.all_inner_texts()]

    def names(self, section: str) -> list[str]:
        """Return the rerankers of a table's rows without their marks."""
        return self.page.locator(f"#{section} tbody .c-reranker > span > bdi").all_inner_texts()

    def points(self, section: str) -> dict[str, list[tuple[Any, Any, str]]]:
        """Return the points of a plot by series: x, y, symbol; the front is called `front`."""
        found = self.page.evaluate(
            """id => document.querySelector(`#${id} .plot`).data.map((t) =>
              [t.name ?? "front", t.x, t.y, t.marker?.symbol ?? t.x.map(() => "")])""",
            section,
        )
        return {name: list(zip(x, y, symbol, strict=True)) for name, x, y, symbol in found}


_NUMBERS = itertools.count()


def drawn(page: Page) -> Page:
    """Wait until everything on the tab is drawn."""
    page.wait_for_selector(":root[data-shown]", timeout=30_000)
    return page


def open_page(browser: Browser, text: str, folder: Path) -> Opened:
    """Open a page from disk and collect what it logs and requests."""
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    page = browser.new_page(viewport=WIDE)
    page.set_default_timeout(30_000)
    opened = Opened(page, file.as_uri())
    page.on("console", lambda message: opened.messages.append(message.text))
    page.on("pageerror", lambda error: opened.messages.append(str(error)))
    page.on("request", lambda request: opened.requests.append(request.url))
    page.goto(opened.address)
    drawn(page)
    return opened


@pytest.fixture(scope="session")
def text(found: Evaluation, views: Sequence[QueryView]) -> str:
    """The page of the whole report."""
    return to_html(found, views)


@pytest.fixture(scope="module")
def shared(browser: Browser, tmp_path_factory: pytest.TempPathFactory, text: str) -> Opened:
    """The page of the whole report, opened once for a module."""
    return open_page(browser, text, tmp_path_factory.mktemp("report"))


@pytest.fixture
def opened(shared: Opened) -> Iterator[Opened]:
    """The page; what it logs, throws or requests fails the test."""
    yield shared
    assert shared.messages == []
    assert shared.requests == [shared.address]
    assert shared.page.evaluate("[window.harmed, document.images.length]") == [None, 0]
    shared.page.emulate_media(media="screen", color_scheme="light")
    shared.page.set_viewport_size(WIDE)


@pytest.fixture(scope="module")
def open_report(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Opened]]:
    """Open another report; what it logs or throws fails a test."""
    made: list[Opened] = []

    def opened(found: Evaluation, views: Sequence[QueryView] = ()) -> Opened:
        folder = tmp_path_factory.mktemp("report")
        made.append(open_page(browser, to_html(found, views), folder))
        return made[-1]

    yield opened
    assert [own.messages for own in made] == [[]] * len(made)
