"""The page on a phone, in the dark, on paper, and without JavaScript or its own scripts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rerank_bench.evaluation import Evaluation

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PHONE = {"width": 390, "height": 800}
TABS = ("Overview", "Results", "Matrix", "Plots", "First stages", "Queries", "One query",
        "Robustness", "Published", "Glossary")  # fmt: skip
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("tab", TABS)
def test_no_tab_is_wider_than_a_phone(opened: Any, tab: str) -> None:
    opened.page.set_viewport_size(PHONE)
    page = opened.show(f"tab={tab}")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_on_a_phone_a_row_has_its_names_and_its_gain_in_sight(opened: Any) -> None:
    opened.page.set_viewport_size(PHONE)
    page = opened.show("tab=Results")
    name = page.locator("#tasks tbody tr").nth(1).locator("th")
    assert name.inner_text().split("\n") == ["good", "Nano/de", "bm25"]
    gain = opened.head("tasks", "gain").bounding_box()
    assert gain["x"] + gain["width"] <= 390
    page.locator("#tasks .scroll").evaluate("e => (e.scrollLeft = 300)")
    box = name.bounding_box()
    assert box is not None
    assert 0 <= box["x"] < 30
    assert box["width"] < 170


def test_on_a_phone_two_sides_of_a_query_follow_one_another(opened: Any) -> None:
    opened.page.set_viewport_size(PHONE)
    page = opened.show("tab=One query")
    first, second = (page.locator("#query .side").nth(i).bounding_box() for i in (0, 1))
    assert second["y"] > first["y"] + 100
    document = page.locator("#query .side").first.locator("td.name").first.bounding_box()
    assert document["width"] > 300


def test_colours_follow_the_system_and_the_select(opened: Any) -> None:
    page = opened.show("")
    light = page.evaluate(GROUND)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(GROUND) != light
    page.get_by_label("Colours").select_option("light")
    assert page.evaluate(GROUND) == light
    assert "theme=light" in page.url


def test_on_paper_are_the_rows_of_the_tab_in_light_colours(opened: Any) -> None:
    page = opened.show("tab=Queries&theme=dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_selector(":root[data-shown]")
    assert page.evaluate(GROUND) == "rgb(255, 255, 255)"
    assert page.locator("#queries tbody tr").count() == 36
    for gone in ("#filters", "[role=tablist]", "#queries .dt-buttons", "#queries .open"):
        assert page.locator(gone).first.is_hidden(), gone
    page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_a_report_of_many_rows_takes_few_pages(
    open_report: Callable[..., Any], found: Evaluation
) -> None:
    many = tuple(replace(found.queries[0], query_id=f"q{i}") for i in range(2000))
    opened = open_report(replace(found, queries=many))
    pdf = opened.show("tab=Queries").pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) < 8


def test_without_javascript_there_are_conclusions_tables_and_the_glossary(
    browser: Browser, tmp_path: Path, text: str, hostile: str
) -> None:
    file = tmp_path / "report.html"
    file.write_text(text, encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    shown = page.locator("body").inner_text()
    for words in ("best is good with +0.200", "Nano, mean of 2 tasks", "+0.200 ±0.040*",
                  "Natural minus first stage", hostile[:8]):  # fmt: skip
        assert words in shown
    assert page.locator("section:visible h2").count() == 4
    assert page.get_by_role("tab").count() == 0
    context.close()


def test_a_script_that_is_not_the_pages_own_does_not_run(opened: Any) -> None:
    refused = opened.page.evaluate(
        """() => new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", () => resolve(true));
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          if (window.ran) resolve(false);
        })"""
    )
    assert refused
    opened.messages.clear()
