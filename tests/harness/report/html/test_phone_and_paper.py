"""The page on a narrow screen, and on paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rerank_bench.evaluation import Evaluation

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Locator, Page


def box(place: Locator) -> FloatRect:
    found = place.bounding_box()
    assert found is not None
    return found


@pytest.fixture
def phone(page: Page) -> Iterator[Page]:
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_timeout(400)
    yield page
    page.set_viewport_size({"width": 1440, "height": 900})


def test_on_a_phone_a_row_keeps_its_names_in_sight_and_its_gain_stands_beside_them(
    phone: Page,
) -> None:
    for table in ("means", "tasks"):
        row = phone.locator(f"#{table} tbody tr").nth(1)
        name = row.locator("th").inner_text().split("\n")
        assert name[0] == "good"
        assert len(name) == 3, "task and profile stand below"
        gain = phone.locator(f'#{table} [data-column="gain"]')
        assert box(gain)["x"] + box(gain)["width"] <= 390
        phone.locator(f"#{table} .scroll").first.evaluate("e => (e.scrollLeft = 300)")
        assert 0 <= box(row.locator("th"))["x"] < 30
        assert box(row.locator("th"))["width"] < 170
    assert phone.evaluate("document.documentElement.scrollWidth") == 390


def test_on_a_phone_panels_stand_below_one_another_and_a_heat_map_scrolls_by_itself(
    phone: Page,
) -> None:
    phone.wait_for_function(
        """() => {
          const titles = [...document.querySelectorAll("#gains .annotation-text-g text")];
          const [first, second] = titles.map((e) => e.getBoundingClientRect().top);
          return titles.length === 2 && second > first + 50;
        }"""
    )
    shape = phone.locator("#headroom .across").evaluate("e => [e.clientWidth, e.scrollWidth]")
    assert shape[1] > shape[0]
    spill = phone.locator("#headroom .heatmap-label").evaluate_all(
        "all => Math.max(...all.map((e) => e.getBoundingClientRect().width))"
    )
    assert 0 < spill < 44


def test_on_a_phone_a_document_has_the_width_and_the_sides_stand_below_one_another(
    phone: Page,
) -> None:
    sides = phone.locator("#query .side")
    assert box(sides.nth(1))["y"] > box(sides.nth(0))["y"] + 100
    assert box(sides.first.locator("td.name").first)["width"] > 300


def printed(page: Page) -> None:
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")


def test_on_paper_tables_hold_the_rows_of_the_screen_and_say_what_has_all(page: Page) -> None:
    page.get_by_label("Colours").select_option("dark")
    page.locator("#queries").get_by_label("Rows on a page").select_option("25")
    printed(page)
    queries = page.locator("#queries")
    assert queries.locator("tbody tr").count() == 25
    assert "1 to 25 of 36; “rerank-bench export” has all" in queries.inner_text()
    assert "export" not in page.locator("#recall").inner_text()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#filters").is_hidden()
    page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_paper_shows_a_query_that_somebody_looked_at_and_no_other(fresh: Page) -> None:
    printed(fresh)
    assert fresh.locator("#query").is_hidden()
    fresh.emulate_media(media="screen")
    fresh.evaluate("dispatchEvent(new Event('afterprint'))")
    fresh.locator("#queries").get_by_role("button", name="open").first.click()
    printed(fresh)
    assert fresh.locator("#query").is_visible()


def test_a_report_of_many_rows_takes_few_pages(
    open_report: Callable[..., Page], found: Evaluation
) -> None:
    many = tuple(replace(found.queries[0], query_id=f"q{i}") for i in range(2000))
    page = open_report(replace(found, queries=many))
    pdf = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) < 15
