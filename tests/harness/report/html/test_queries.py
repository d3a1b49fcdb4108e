"""Queries with their texts: two rerankers side by side, requests and replies, hidden characters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rerank_bench.evaluation import Evaluation, records, results_of
from rerank_bench.inspect.exchanges import Exchange
from rerank_bench.inspect.replay import QueryView, ViewDocument

TURNED = "a\u202eb\x1b[31mc\x00\u2067d"
SHOWN = r"a\u{202e}b\x1b[31mc\x00\u{2067}d"
HEBREW = "שלום עולם (1872)"


def test_two_rerankers_of_a_query_are_side_by_side(opened: Any, hostile: str) -> None:
    page = opened.show("tab=One query")
    section = page.locator("#query")
    assert section.locator("h3").all_inner_texts() == ["good", "harmful"]
    assert section.locator("blockquote").inner_text() == hostile
    rows = section.locator(".side").first.locator("tbody tr")
    assert rows.count() == 4
    assert rows.nth(0).locator("td").all_inner_texts()[:4] == ["1", "3", "▲ 2", "2.5"]
    assert "✓ positive, grade 1" in rows.nth(0).inner_text()
    assert hostile in rows.nth(1).inner_text()
    assert "safeguard" in rows.nth(3).inner_text()
    long = rows.nth(2).locator("details")
    assert long.locator("summary").inner_text().endswith("…")
    opened.show("tab=One query&query.first=harmful")
    assert section.locator("h3").all_inner_texts() == ["harmful", "good"]
    opened.show("tab=One query&reranker=good")
    assert section.locator("h3").all_inner_texts() == ["good"]


def test_requests_and_replies_unfold_and_repaired_ones_are_marked(
    opened: Any, hostile: str
) -> None:
    page = opened.show("tab=One query")
    side = page.locator("#query .side").first
    side.get_by_text("2 requests and replies, 1 repaired").click()
    exchange = side.locator(".exchange").first
    assert "repaired" in exchange.inner_text()
    exchange.locator("summary").click()
    assert exchange.locator("pre").all_inner_texts() == [hostile, hostile]
    assert side.locator(".exchange.repaired").count() == 1


def test_a_row_of_a_query_opens_it(opened: Any) -> None:
    page = opened.show("tab=Queries")
    buttons = page.locator("#queries .open")
    names = buttons.evaluate_all("all => all.map(e => e.ariaLabel)")
    assert names == ["open q3 of good"]
    buttons.first.click()
    page.wait_for_selector(':root[data-shown="One query"]')
    assert page.locator("#query").get_by_label("Query", exact=True).input_value() == "q3"
    assert "query.first=good" in page.url


@pytest.fixture(scope="module")
def turned(open_report: Callable[..., Any], found: Evaluation) -> Any:
    """A report in which every name, id and text contains what must be made visible."""
    names = {"task": TURNED, "profile": TURNED}
    rows = records(found.results.rows())
    rows = [row for row in rows if (row["task"], row["profile"]) == ("Nano/de", "bm25")]
    good = {"reranker": TURNED}
    results = results_of([r | names | (good if r["reranker"] == "good" else {}) for r in rows])
    named = {**names, **good}
    queries = [replace(q, **named, query_id=TURNED, language=TURNED) for q in found.queries[:3]]
    documents = [
        ViewDocument(id_, text, i, i, 1.0, None, positive=False, safeguard=False)
        for i, (id_, text) in enumerate([(TURNED, f"{TURNED}\n{HEBREW}"), ("א-1", HEBREW)], 1)
    ]
    exchanges = (Exchange(1, TURNED, TURNED, TURNED, repaired=True),)
    view = QueryView(
        TURNED, TURNED, TURNED, TURNED, TURNED, tuple(documents), exchanges, {TURNED: 1}, TURNED,
        0.5, 1.0, notes=(TURNED,),
    )  # fmt: skip
    return open_report(
        replace(
            found, results=results, means=results_of([]), groups=(), queries=tuple(queries),
            left_out=(TURNED,),
        ),
        (view,),
    )  # fmt: skip


UNSEEN = r"""() => {
  const bad = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066\u2067]/;
  const all = [...document.querySelectorAll("body *:not(script)")];
  return [
    ...all.flatMap((e) => [...e.childNodes]).filter((n) => n.nodeType === 3).map((n) => n.data),
    ...all.flatMap((e) => [...e.attributes].map((attribute) => attribute.value)),
  ].filter((text) => bad.test(text));
}"""
PLACES = {
    "Overview": ("#summary", "#profiles", '[data-filter="reranker"] .boxes'),
    "Results": ("#tasks",),
    "Plots": ("#gains .plot",),
    "Queries": ("#queries",),
    "One query": ("#query h3", "#query pre", "#query blockquote", "#query code", "#query summary"),
}


def test_no_control_character_and_no_override_of_direction_reaches_a_reader(turned: Any) -> None:
    for tab, places in PLACES.items():
        page = turned.show(f"tab={tab}")
        page.evaluate("document.querySelectorAll('details').forEach((e) => (e.open = true))")
        page.wait_for_timeout(200)
        assert page.evaluate(UNSEEN) == [], tab
        for place in places:
            assert SHOWN in " ".join(page.locator(place).all_text_contents()), place


def test_a_name_shown_by_its_codes_is_chosen_and_found(turned: Any) -> None:
    page = turned.show("tab=Queries&task=" + r"\u{202E}b")
    page.locator("#queries .open").first.click()
    page.wait_for_selector(':root[data-shown="One query"]')
    assert page.locator("#query").get_by_label("Query", exact=True).input_value() == SHOWN


def test_ordinary_text_from_right_to_left_stays_by_itself(turned: Any) -> None:
    page = turned.show("tab=One query")
    cell = page.locator("#query .documents td.name").nth(1)
    text, name = cell.locator("p"), cell.locator("code bdi")
    assert text.inner_text() == HEBREW
    assert text.evaluate("e => getComputedStyle(e).unicodeBidi") == "plaintext"
    assert name.inner_text() == "א-1"
    assert name.evaluate("e => getComputedStyle(e).unicodeBidi") == "isolate"
