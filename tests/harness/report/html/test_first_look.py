"""What a reader sees first, and how soon he is where he wants to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rerank_bench.evaluation import Evaluation, records

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def heads(page: Page, table: str) -> list[str]:
    return page.locator(f"#{table} thead th").evaluate_all("all => all.map(e => e.dataset.column)")


def head(page: Page, table: str, name: str) -> Locator:
    return page.locator(f'#{table} thead [data-column="{name}"]')


def column(page: Page, table: str, name: str) -> list[str]:
    place = heads(page, table).index(name) + 1
    return page.locator(f"#{table} tbody tr > :nth-child({place})").all_inner_texts()


def test_gain_interval_and_cost_stand_on_a_screen_of_1400_pixels(page: Page) -> None:
    page.set_viewport_size({"width": 1400, "height": 900})
    page.wait_for_timeout(300)
    for table in ("means", "tasks"):
        for name in ("gain", "interval", "calls", "read", "seconds"):
            box = head(page, table, name).bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= 1400 - 20, (table, name)
    assert "per query" in head(page, "tasks", "read").inner_text()
    page.set_viewport_size({"width": 1440, "height": 900})


def test_columns_of_nothing_but_zeros_wait_among_more_columns(
    open_report: Callable[..., Page], found: Evaluation
) -> None:
    none = {"output_tokens": 0, "failed": 0, "repaired": 0}
    rows = [row | none for row in records(found.results.rows())]
    page = open_report(Evaluation.of(rows))
    assert not {"written", "health", "rounds"} & set(heads(page, "tasks"))
    page.locator("#tasks").get_by_label("More columns").check()
    assert set(column(page, "tasks", "written")) == {"0"}
    assert set(column(page, "tasks", "rounds")) == {"1"}


def test_queries_and_strata_start_with_real_rerankers_best_first(
    open_report: Callable[..., Page], found: Evaluation
) -> None:
    names = ("random", "harmful", "good")
    queries = tuple(replace(found.queries[0], reranker=name) for name in names)
    strata = tuple(replace(found.strata[0], reranker=name) for name in names)
    page = open_report(replace(found, queries=queries, strata=strata))
    for table in ("queries", "strata"):
        assert column(page, table, "reranker") == ["good", "harmful", "random"], table


def test_the_keyboard_jumps_from_section_to_section(fresh: Page) -> None:
    fresh.keyboard.press("Tab")
    fresh.keyboard.press("Tab")
    assert fresh.evaluate("document.activeElement.getAttribute('href')") == "#means"
    fresh.locator('#contents a[href="#headroom"]').focus()
    fresh.keyboard.press("Enter")
    fresh.keyboard.press("Tab")
    back = fresh.locator(":focus")
    assert back.evaluate("e => e.closest('section').id") == "headroom"
    assert back.get_attribute("aria-label") == "Back to the list of sections"
    fresh.keyboard.press("Enter")
    fresh.keyboard.press("Tab")
    assert fresh.evaluate("document.activeElement.getAttribute('href')") == "#means"


def test_each_button_that_opens_a_query_has_its_name(page: Page) -> None:
    names = page.locator("#queries .open").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert names == ["open q3 of good"]
