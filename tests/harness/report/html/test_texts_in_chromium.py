"""Texts that would not show, or would turn their neighbours around; and what a request is about."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rerank_bench.evaluation import Evaluation, records
from rerank_bench.inspect.exchanges import Exchange
from rerank_bench.inspect.replay import QueryView, ViewDocument

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenReport = Callable[..., "Page"]

TURNED = "a\u202eb\x1b[31mc\x00\u2067d"
SHOWN = r"a\u{202e}b\x1b[31mc\x00\u{2067}d"
HEBREW = "שלום עולם (1872)"
PERSIAN = "می\u200cخواهم"
LONG = "A harbour is where ships lie; this one was built by the old town. "


def document(doc_id: str, text: str, place: int) -> ViewDocument:
    return ViewDocument(doc_id, text, place, place, 1.0, None, positive=False, safeguard=False)


@pytest.fixture
def turned(open_report: OpenReport, found: Evaluation) -> Page:
    """A report in which every name, id and text holds what must be made visible."""

    names = {"task": TURNED, "profile": TURNED}
    rows = [
        row | names | ({"reranker": TURNED} if row["reranker"] == "good" else {})
        for row in records(found.results.rows())
        if (row["task"], row["profile"]) == ("Nano/de", "bm25")
    ]
    queries = tuple(
        replace(query, **names, reranker=TURNED, query_id=TURNED, language=TURNED)
        for query in found.queries[:3]
    )
    documents = (
        document(TURNED, f"{TURNED}\nsecond line\tof {HEBREW} {PERSIAN}", 1),
        document("א-1", HEBREW, 2),
    )
    said = (Exchange(1, TURNED, TURNED, TURNED, repaired=True),)
    view = QueryView(
        TURNED, TURNED, TURNED, TURNED, TURNED, documents, said, {TURNED: 1}, TURNED, 0.5, 1.0,
        notes=(TURNED,),
    )  # fmt: skip
    return open_report(
        Evaluation.of(
            rows,
            queries=queries,
            left_out=(TURNED,),
            orders=found.orders,
            strata=found.strata,
            latencies=found.latencies,
            claims=found.claims,
        ),
        (view,),
    )


UNSEEN = r"""() => {
  const bad = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066\u2067]/;
  const all = [...document.querySelectorAll("body *:not(script)")];
  const names = ["title", "aria-label"];
  return [
    ...all.flatMap((e) => [...e.childNodes]).filter((n) => n.nodeType === 3).map((n) => n.data),
    ...all.flatMap((e) => names.map((name) => e.getAttribute(name) ?? "")),
  ].filter((text) => bad.test(text));
}"""


def test_no_control_character_and_no_override_of_direction_reaches_a_reader(turned: Page) -> None:
    for _ in range(2):  # one lies in another
        turned.evaluate("document.querySelectorAll('details').forEach((e) => (e.open = true))")
        turned.wait_for_timeout(300)
    assert turned.evaluate(UNSEEN) == []
    for place in (
        "#tasks tbody th", "#queries tbody th", "#gains .plot", "#summary", "#query h3",
        "#query pre",
        "#query blockquote", "#query .documents code", "#query .exchange summary", "#task-names",
        '[data-filter="reranker"] .boxes', '#query [data-choice="query"] option',
        '#quality [data-choice="reranker"]',
    ):  # fmt: skip
        inside = turned.locator(place).first
        assert SHOWN in (inside.inner_html() + (inside.text_content() or "")), place


def test_a_name_that_is_shown_by_its_codes_is_still_chosen_and_found(turned: Page) -> None:
    turned.locator("#queries").get_by_role("button", name="open").first.click()
    assert turned.locator("#query").get_by_label("Query", exact=True).input_value() == TURNED
    turned.get_by_label("Task contains").fill(r"\u{202E}b")
    turned.wait_for_timeout(300)
    assert turned.locator("#tasks tbody tr").count() > 0
    turned.locator('[data-filter="reranker"] summary').click()
    turned.locator('[data-filter="reranker"]').get_by_label(SHOWN).check()
    turned.wait_for_timeout(300)
    assert turned.locator("#tasks tbody tr").count() == 1


def test_honest_text_from_right_to_left_stays_as_it_is_and_by_itself(turned: Page) -> None:
    cells = turned.locator("#query .documents td.name")
    first, second = cells.nth(0).locator("p"), cells.nth(1).locator("p")
    assert f"second line\tof {HEBREW} {PERSIAN}" in (first.text_content() or "")
    assert second.inner_text() == HEBREW
    assert second.evaluate("e => getComputedStyle(e).unicodeBidi") == "plaintext"
    name = cells.nth(1).locator("code bdi")
    assert name.inner_text() == "א-1"
    assert name.evaluate("e => getComputedStyle(e).unicodeBidi") == "isolate"


def test_each_request_says_which_document_it_is_about(
    open_report: OpenReport, found: Evaluation
) -> None:
    documents = (
        document("long", LONG * 3 + "the end", 1),
        document("twin", LONG * 3 + "another end", 2),
        document("short", "harbour", 3),
    )
    said = (
        Exchange(1, "PairScore", f"query: harbour\ndocument: {LONG * 3}the e", "1.5"),
        Exchange(1, "PairScore", f"query: {LONG}\ndocument: {LONG * 3}another", "2.5"),
        Exchange(1, "PairScore", "query: harbour\ndocument: harbour", "0.5"),
        Exchange(2, "Generate", f"A: {LONG * 3}the end\nB: {LONG * 3}another end", "[1] > [2]"),
        Exchange(3, "Generate", "no document", "sorry"),
    )
    view = QueryView(
        "Nano/de", "bm25", "good", "q3", "harbour", documents, said, {}, None, 0.5, 1.0
    )
    page = open_report(found, (view,))
    page.get_by_text("5 requests and replies").click()
    told = page.locator(".exchange summary").all_inner_texts()
    assert told[0].startswith("Round 1 · PairScore · long A harbour is where ships lie;")
    assert told[0].endswith("… → 1.5")
    assert [line.split(" ")[5] for line in told[1:3]] == ["twin", "short"]
    assert told[3] == "Round 2 · Generate · long, twin → [1] > [2]"
    assert re.sub(r"\s+", " ", told[4]).strip() == "Round 3 · Generate · → sorry"
