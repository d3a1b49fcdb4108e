"""The page in a real browser: what a reader sees, clicks and types, and what must never happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rerank_bench.evaluation import Evaluation, results_of

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def column(page: Page, table: str, name: str) -> list[str]:
    """The texts of one column of a section's first table."""
    place = page.locator(f"#{table} thead th").evaluate_all(
        "(heads, name) => heads.findIndex((head) => head.dataset.column === name)", name
    )
    assert place >= 0, f"no column {name}"
    cells = page.locator(f"#{table} tbody tr > :nth-child({place + 1})").all_inner_texts()
    return [cell.strip() for cell in cells]


def head(page: Page, table: str, name: str) -> Locator:
    return page.locator(f'#{table} thead [data-column="{name}"]')


def settled(page: Page) -> None:
    """Wait until plots that a change set off have been drawn."""
    page.wait_for_timeout(300)


def test_the_means_come_first_best_reranker_first(page: Page, hostile: str) -> None:
    assert page.locator("main > section:not([hidden])").first.get_attribute("id") == "means"
    names = [name.partition(" ")[0] for name in column(page, "means", "reranker")[:5]]
    assert names == ["broken", "good", hostile.partition(" ")[0], "harmful", "random"]
    assert column(page, "means", "value")[1] == "0.6000"
    assert column(page, "means", "gain")[:2] == ["+0.3000", "+0.2000 ★"]
    assert column(page, "means", "interval")[1] == "[+0.1600, +0.2400]"


def test_what_is_odd_about_a_row_is_told_in_words(page: Page) -> None:
    names, health = column(page, "tasks", "reranker"), column(page, "tasks", "health")
    told = dict(zip([name.partition(" ")[0] for name in names], health, strict=True))
    assert told["harmful"] == "2 failed"
    assert told["<b>b</b></script><img"] == "4 repaired"
    assert any("invalid" in name for name in names if name.startswith("broken"))


def test_a_click_on_a_head_sorts_and_says_so(page: Page) -> None:
    gain, own = head(page, "tasks", "gain"), column(page, "tasks", "gain")
    assert gain.get_attribute("aria-sort") == "none"
    gain.get_by_role("button").click()
    assert gain.get_attribute("aria-sort") == "descending"
    assert column(page, "tasks", "gain")[0] == "+0.3100"
    gain.get_by_role("button").click()
    assert gain.get_attribute("aria-sort") == "ascending"
    assert column(page, "tasks", "gain")[0] == "−0.2000"
    gain.get_by_role("button").click()
    assert gain.get_attribute("aria-sort") == "none"
    assert column(page, "tasks", "gain") == own


def test_a_table_sorts_by_keyboard_and_keeps_the_focus(page: Page) -> None:
    head(page, "tasks", "reranker").get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head(page, "tasks", "reranker").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert head(page, "tasks", "reranker").get_attribute("aria-sort") == "descending"
    assert column(page, "tasks", "reranker")[0].startswith("random")


def test_filters_narrow_every_table(page: Page) -> None:
    page.get_by_label("Task contains").fill("/EN")
    page.locator('[data-filter="profile"] summary').click()
    page.locator('[data-filter="profile"]').get_by_label("dense").check()
    page.keyboard.press("Escape")
    page.locator('[data-filter="reranker"] summary').click()
    page.locator('[data-filter="reranker"]').get_by_label("good").check()
    settled(page)
    assert column(page, "tasks", "task") == ["Nano/en"]
    assert column(page, "tasks", "reranker") == ["good"]
    assert len(column(page, "means", "reranker")) == 1
    assert set(column(page, "queries", "task")) == {"Nano/en"}
    assert page.locator("#orders .plot").is_hidden()
    page.get_by_role("button", name="Reset", exact=True).click()
    settled(page)
    assert len(column(page, "tasks", "task")) == 20


def test_a_language_leaves_its_strata_its_queries_and_their_tasks(page: Page) -> None:
    page.locator('[data-filter="language"] summary').click()
    page.locator('[data-filter="language"]').get_by_label("de").check()
    settled(page)
    assert column(page, "strata", "stratum") == ["de"]
    assert set(column(page, "queries", "language")) == {"de"}
    assert set(column(page, "tasks", "task")) == {"Nano/de"}


def test_what_the_filters_do_not_reach_is_told(page: Page) -> None:
    told = page.locator("#reach")
    assert told.is_hidden()
    page.get_by_label("Task contains").fill("/de")
    settled(page)
    assert told.inner_text().startswith("Means are over all tasks of a data set")
    page.get_by_label("Task contains").fill("")
    page.locator('[data-filter="language"] summary').click()
    page.locator('[data-filter="language"]').get_by_label("en").check()
    settled(page)
    assert "hold whole tasks that have such queries" in told.inner_text()
    assert column(page, "recall", "task") == []
    assert column(page, "latencies", "task") == []
    assert len(column(page, "means", "task")) == 10
    page.get_by_role("button", name="Reset", exact=True).click()
    settled(page)
    assert told.is_hidden()
    assert column(page, "recall", "task") == ["Nano/de"]


def test_the_switch_shows_safeguarded_numbers_without_the_natural_ones_statistics(
    page: Page,
) -> None:
    page.get_by_text("safeguarded", exact=True).first.click()
    settled(page)
    assert column(page, "means", "value")[1] == "0.6500"
    assert column(page, "means", "gain")[1] == "+0.2500"
    assert head(page, "means", "interval").count() == 0
    assert "★" not in "".join(page.locator("#means tbody").all_inner_texts())


def test_another_measure_is_shown_when_asked_for(page: Page) -> None:
    page.get_by_label("Measure").select_option("MAP@100")
    settled(page)
    assert "MAP@100" in page.locator("#tasks h2").inner_text()
    assert len(column(page, "tasks", "value")) == 20
    assert "★" not in "".join(column(page, "tasks", "gain"))


def test_every_plot_is_drawn_and_has_a_table_of_its_data(page: Page) -> None:
    for name in ("gains", "cost", "headroom", "quality", "ranks", "orders"):
        section = page.locator(f"#{name}")
        assert section.locator(".plot svg.main-svg").count() > 0, name
        section.get_by_text("Table of this plot").click()
        section.locator("tbody tr").first.wait_for()
    assert len(column(page, "gains", "gain")) == 10
    assert column(page, "orders", "tenth1") == ["20 %"]


def test_a_cost_plot_never_mixes_hardware(page: Page) -> None:
    section = page.locator("#cost")
    section.get_by_text("Table of this plot").click()
    section.locator("tbody tr").first.wait_for()
    assert "harmful" not in column(page, "cost", "reranker")
    assert "yes" in column(page, "cost", "front")
    section.get_by_label("On", exact=True).select_option("slow metal")
    settled(page)
    assert set(column(page, "cost", "reranker")) == {"first stage", "harmful"}
    section.get_by_label("Cost", exact=True).select_option("flops")
    settled(page)
    assert set(column(page, "cost", "cost")) == {"0", "2.00T"}


def test_no_invalid_run_and_no_floor_stands_on_the_front(page: Page) -> None:
    page.locator("#cost").get_by_text("Table of this plot").click()
    page.locator("#cost tbody tr").first.wait_for()
    front = zip(column(page, "cost", "kind"), column(page, "cost", "front"), strict=True)
    assert {told for kind, told in front if kind in {"invalid", "floor"}} == {"–"}


def test_hostile_names_stay_text_in_tables_and_plots(page: Page, hostile: str) -> None:
    assert any(hostile in name for name in column(page, "means", "reranker"))
    page.locator("#quality").get_by_label("Reranker").select_option(hostile)
    labels = page.locator("#gains .plot text").all_text_contents()
    assert any(label.startswith("<b>b</b></script><img src=x") for label in labels)
    assert page.locator(".plot tspan[style*=bold], .plot image[href=x]").count() == 0
    assert hostile in column(page, "claims", "source")


def test_two_rerankers_of_one_query_stand_side_by_side(page: Page, hostile: str) -> None:
    section = page.locator("#query")
    assert section.locator("h3").all_inner_texts() == ["good", "harmful"]
    assert section.locator("blockquote").inner_text() == hostile
    rows = section.locator(".side").first.locator("tbody tr")
    assert rows.count() == 4
    assert rows.nth(0).inner_text().split("\n")[0].split("\t")[:4] == ["1", "3", "▲ 2", "2.5"]
    assert "✓ positive" in rows.nth(0).inner_text()
    assert hostile in rows.nth(1).inner_text()
    assert "safeguard" in rows.nth(3).inner_text()


def test_requests_and_replies_unfold_and_repaired_ones_stand_out(page: Page, hostile: str) -> None:
    side = page.locator("#query .side").first
    side.get_by_text("2 requests and replies, 1 repaired").click()
    exchange = side.locator(".exchange").first
    assert "repaired" in exchange.inner_text()
    exchange.locator("summary").click()
    exchange.locator("pre").first.wait_for()
    assert exchange.locator("pre").all_inner_texts() == [hostile, hostile]
    assert side.locator(".exchange.repaired").count() == 1


def test_a_row_of_a_query_opens_its_view(page: Page) -> None:
    page.locator("#queries").get_by_role("button", name="open").first.click()
    assert page.locator("#query").get_by_label("Query", exact=True).input_value() == "q3"
    assert page.locator("#query").get_by_label("Task").evaluate("e => document.activeElement === e")


def test_colours_follow_the_system_and_the_switch(page: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(paper)
    page.get_by_label("Colours").select_option("light")
    assert light != dark
    assert page.evaluate(paper) == light


def test_the_keyboard_reaches_everything_and_sees_where_it_is(fresh: Page) -> None:
    fresh.keyboard.press("Tab")
    assert fresh.locator(":focus").inner_text() == "Skip to the tables"
    seen = set()
    for _ in range(90):
        fresh.keyboard.press("Tab")
        seen.add(fresh.evaluate("document.activeElement.closest('[id]')?.id"))
        assert fresh.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert {"contents", "filters", "means", "tasks", "gains", "cost"} <= seen


def test_a_script_that_is_not_the_pages_own_does_not_run(fresh: Page) -> None:
    refused = fresh.evaluate(
        """() => new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", () => resolve(true));
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          if (window.ran) resolve(false);
        })"""
    )
    assert refused


def test_runs_without_a_data_sets_mean_open_with_their_tasks(
    open_report: Callable[[Evaluation], Page], found: Evaluation
) -> None:
    page = open_report(replace(found, groups=(), means=results_of([])))
    assert page.locator("main > section:not([hidden])").first.get_attribute("id") == "summary"
    assert len(column(page, "tasks", "task")) == 20
    assert page.locator("#gains .plot svg.main-svg").count() > 0


def test_a_report_of_nothing_opens(open_report: Callable[[Evaluation], Page]) -> None:
    page = open_report(Evaluation.of())
    assert page.locator("#words").is_visible()
    assert page.locator("table").count() == 0
