"""Tables, matrices, filters and the address in a real browser."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rerank_bench.evaluation import Evaluation

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SHOWN = ":root[data-shown]"
ORDERED = {way: f'[aria-sort="{way}"]' for way in ("ascending", "descending")}
ORDERED[""] = ":not([aria-sort])"


def pick(page: Page, name: str, value: str) -> None:
    """Tick a box of a filter."""
    page.locator(f'[data-filter="{name}"] summary').click()
    page.locator(f'[data-filter="{name}"]').get_by_label(value, exact=True).check()
    page.keyboard.press("Escape")
    page.wait_for_selector(SHOWN)


def press(button: Locator) -> Callable[[], None]:
    """Return what presses a button by the keyboard."""
    return lambda: button.press("Enter")


def exported(page: Page, section: str, tmp_path: Path) -> list[dict[str, str]]:
    """The rows of the CSV file that a table's button writes."""
    with page.expect_download() as download:
        page.locator(f"#{section}").get_by_role("button", name="CSV").click()
    file = tmp_path / "table.csv"
    download.value.save_as(file)
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"))))


def test_the_page_opens_with_conclusions_and_the_matrix(opened: Any) -> None:
    page = opened.show("")
    assert page.locator("[role=tab][aria-selected=true]").inner_text() == "Overview"
    conclusion = page.locator(".conclusions li").first.inner_text()
    assert conclusion.startswith("Nano: best is good with +0.200")
    assert page.locator("#profiles").is_visible()
    assert page.locator("#tasks").is_hidden()


def test_results_are_best_first_with_gain_interval_and_cost(opened: Any, hostile: str) -> None:
    opened.show("tab=Results")
    assert opened.names("means")[:5] == ["broken", "good", hostile, "harmful", "random"]
    assert opened.column("means", "natural")[1] == "0.6000"
    assert opened.column("means", "gain")[:2] == ["+0.3000", "+0.2000 ★"]
    assert opened.column("means", "gain_low")[1] == "[+0.160, +0.240]"
    assert opened.heads("tasks")[:5] == ["reranker", "task", "profile", "gain", "gain_low"]
    for name in ("gain_low", "calls_per_query", "prompt_tokens", "seconds_per_query"):
        box = opened.head("tasks", name).bounding_box()
        assert box["x"] + box["width"] <= 1380, name


def test_what_is_odd_about_a_run_is_marked(opened: Any) -> None:
    opened.show("tab=Results")
    rows = dict(zip(opened.names("tasks"), opened.column("tasks", "reranker"), strict=True))
    assert "invalid" in rows["broken"]
    assert "floor" in rows["random"]
    health = dict(zip(opened.names("tasks"), opened.column("tasks", "health"), strict=True))
    assert health["harmful"] == "2 failed"


def test_heads_sort_by_click_and_key_and_the_address_keeps_it(opened: Any) -> None:
    page = opened.show("tab=Results")
    own = opened.column("tasks", "gain")
    gain = opened.head("tasks", "gain")
    button = gain.locator("[role=button]")
    steps = ((gain.click, "descending", "+0.3100"), (press(button), "ascending", "−0.2000"))
    for sort, way, first in (*steps, (press(button), "", own[0])):
        sort()
        page.wait_for_selector(f'#tasks [data-column="gain"]{ORDERED[way]}')
        assert opened.column("tasks", "gain")[0] == first
    gain.click()
    page.wait_for_url("**tasks.sort=gain%3Adesc**")
    opened.show("tab=Results&tasks.sort=gain:asc")
    assert opened.column("tasks", "gain")[0] == "−0.2000"
    opened.show("tab=Results")
    assert opened.column("tasks", "gain") == own


def test_missing_values_are_last_either_way(
    open_report: Callable[..., Any], changed: Callable[..., Evaluation]
) -> None:
    opened = open_report(changed(seconds_per_query=None))
    for way in ("asc", "desc"):
        opened.show(f"tab=Results&tasks.sort=seconds_per_query:{way}")
        assert opened.column("tasks", "seconds_per_query")[-4:] == ["–"] * 4


def test_filters_narrow_all_tables_and_the_address_brings_them_back(opened: Any) -> None:
    page = opened.show("tab=Results")
    page.get_by_label("Task contains").fill("/EN")
    pick(page, "profile", "dense")
    pick(page, "reranker", "good")
    assert opened.column("tasks", "task") == ["Nano/en"]
    assert opened.column("tasks", "profile") == ["dense"]
    assert opened.names("means") == ["good"]
    state = page.url.partition("#")[2]
    opened.show("tab=Queries")
    assert len(opened.column("queries", "task")) == 36
    opened.show(state)
    assert opened.names("tasks") == ["good"]
    assert page.get_by_label("Task contains").input_value() == "/EN"
    opened.show(state.replace("tab=Results", "tab=Queries"))
    assert set(opened.column("queries", "task")) == {"Nano/en"}
    page.get_by_role("button", name="Reset", exact=True).click()
    page.wait_for_selector(SHOWN)
    assert len(opened.column("queries", "task")) == 36


def test_sentences_follow_the_filters(opened: Any) -> None:
    page = opened.show("profile=dense")
    page.locator("#sentences > summary").click()
    visible = page.locator(".sentence:visible")
    assert [text.partition(":")[0] for text in visible.all_inner_texts()] == ["Nano after dense"]
    opened.show("task=nothing")
    assert visible.count() == 0
    assert "No row fits the filters." in page.locator("#profiles").inner_text()


def test_a_language_keeps_its_queries_strata_and_tasks(opened: Any) -> None:
    opened.show("tab=Queries&language=de")
    assert opened.column("strata", "stratum") == ["de"]
    assert set(opened.column("queries", "language")) == {"de"}
    opened.show("tab=Results&language=de")
    assert set(opened.column("tasks", "task")) == {"Nano/de"}
    assert len(opened.column("means", "task")) == 10


def test_another_measure_shows_its_values_and_no_star(opened: Any) -> None:
    page = opened.show("tab=Results")
    page.get_by_label("Measure").select_option("MAP@100")
    page.wait_for_selector(SHOWN)
    assert len(opened.column("tasks", "gain")) == 20
    assert "★" not in "".join(opened.column("tasks", "gain"))
    assert "measure=MAP%40100" in page.url


def test_a_step_back_returns_to_the_last_tab(opened: Any) -> None:
    page = opened.show("tab=Results")
    page.get_by_role("tab", name="Glossary").click()
    page.wait_for_selector(':root[data-shown="Glossary"]')
    assert page.locator("#glossary").is_visible()
    page.go_back()
    page.wait_for_selector(':root[data-shown="Results"]')


def test_matrices_have_a_number_a_colour_and_a_star(opened: Any, hostile: str) -> None:
    page = opened.show("")
    assert opened.heads("profiles") == [
        "profile", "first_stage", "good", hostile, "harmful", "broken", "random",
    ]  # fmt: skip
    assert opened.column("profiles", "profile") == ["bm25", "dense"]
    assert opened.column("profiles", "good") == ["+0.200★", "+0.200★"]
    assert opened.column("profiles", "broken")[0] == "✕ +0.300"
    colours = page.locator("#profiles .value").evaluate_all(
        "all => all.map(cell => getComputedStyle(cell).backgroundColor)"
    )
    assert len(set(colours)) > 3
    assert "[+0.160, +0.240]" in (
        page.locator("#profiles .value").first.get_attribute("title") or ""
    )
    page.locator("#profiles").get_by_label("Of", exact=True).select_option("Nano/de")
    page.wait_for_selector(SHOWN)
    assert opened.column("profiles", "good")[0] == "+0.210★"
    opened.show("tab=Matrix&matrix.profile=dense&matrix.value=headroom_captured")
    assert opened.column("matrix", "task") == ["Nano/de", "Nano/en"]
    assert opened.column("matrix", "good") == ["53 %", "50 %"]
    opened.show("tab=Matrix&matrix.sort=good:asc")
    assert opened.column("matrix", "task") == ["Nano/en", "Nano/de"]


def test_a_button_writes_a_table_as_csv(opened: Any, tmp_path: Path, hostile: str) -> None:
    page = opened.show("tab=Results&reranker=good")
    rows = exported(page, "tasks", tmp_path)
    assert len(rows) == 4
    assert rows[0]["reranker"] == "good"
    assert (rows[0]["gain"], rows[0]["gain_low"]) == ("0.21", "0.17 / 0.25")
    opened.show("tab=Matrix")
    (row, _) = exported(page, "matrix", tmp_path)
    assert float(row["good"]) == 0.21
    assert hostile in row
    opened.requests[1:] = [url for url in opened.requests[1:] if not url.startswith("blob:")]


def test_columns_that_hold_nothing_are_left_to_be_asked_for(
    open_report: Callable[..., Any], changed: Callable[..., Evaluation]
) -> None:
    opened = open_report(changed(price=0.00123))
    page = opened.show("tab=Results")
    assert "price" in opened.heads("tasks")
    assert not {"gpu_seconds", "from_cache", "model"} & set(opened.heads("tasks"))
    prices = dict(zip(opened.names("tasks"), opened.column("tasks", "price"), strict=True))
    assert prices["good"] == "1.23"
    page.locator("#tasks").get_by_role("button", name="Columns").click()
    page.get_by_role("button", name="GPU seconds").click()
    assert set(opened.column("tasks", "gpu_seconds")) == {"–"}


@pytest.mark.parametrize(
    ("odd", "mark", "symbol"),
    [
        ({"is_real": False}, "fake engine", "hourglass-open"),
        ({"apart": True, "first_stage": 0.123}, "not comparable", "square-open"),
    ],
)
def test_a_run_that_does_not_compare_is_marked_in_tables_and_plots_and_on_no_front(
    open_report: Callable[..., Any],
    changed: Callable[..., Evaluation],
    odd: dict[str, Any],
    mark: str,
    symbol: str,
) -> None:
    opened = open_report(changed(**odd))
    tables = {"Results": "tasks", "Queries": "queries", "Robustness": "latencies"}
    for tab, section in tables.items():
        opened.show(f"tab={tab}&reranker=good")
        assert all(mark in name for name in opened.column(section, "reranker")), section
    assert "Best is good" not in opened.page.locator("#summary").text_content()
    opened.show("tab=Matrix&matrix.profile=dense")
    assert "0.1230" not in opened.column("matrix", "first_stage")
    assert all(text.startswith("✕") for text in opened.column("matrix", "good"))
    opened.show("tab=Plots&cost.scope=Nano/de")
    cost = opened.points("cost")
    assert cost["good"][0][2] == symbol
    assert 0.21 not in [y for _, y, _ in cost["front"]]
    assert symbol in [point[2] for point in opened.points("gains")["bm25"]]


def test_first_stages_and_claims_have_their_published_values(opened: Any, hostile: str) -> None:
    opened.show("tab=First stages")
    assert opened.column("recall", "first_stage") == ["0.9000"]
    assert opened.column("recall", "published") == ["0.9100"]
    opened.show("tab=Published")
    assert opened.column("claims", "source") == [hostile]
    assert opened.column("claims", "verdict") == ["agrees"]


def test_hostile_names_stay_text(opened: Any, hostile: str) -> None:
    page = opened.show("tab=Results")
    assert hostile in opened.names("means")
    assert page.locator("main b:has-text('b')", has_text=re.compile("^b$")).count() == 0
    with page.expect_popup() as popup:
        page.locator("#means").get_by_role("button", name="Print").click()
    printed = popup.value
    printed.wait_for_load_state()
    assert hostile in printed.locator("body").inner_text()
    assert printed.locator("img").count() == 0
    printed.close()


def test_the_keyboard_reaches_tabs_filters_and_tables(opened: Any) -> None:
    page = opened.show("tab=Results")
    page.evaluate("document.activeElement.blur()")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "report"
    assert "tab=Results" in page.url
    page.get_by_role("tab", name="Results").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(':root[data-shown="Matrix"]')
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.closest('[id]')?.id"))
        assert page.evaluate(
            "document.activeElement === document.body"
            " || getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        )
    assert "filters" in seen
    assert any("matrix" in str(name) or "DataTables" in str(name) for name in seen)


def test_a_report_without_means_and_a_report_of_nothing_open(
    open_report: Callable[..., Any], found: Evaluation
) -> None:
    empty = Evaluation.of()
    opened = open_report(replace(found, groups=(), means=empty.means))
    assert opened.page.locator("#means").count() == 0
    opened.show("tab=Results")
    assert len(opened.column("tasks", "task")) == 20
    opened = open_report(empty)
    assert opened.page.get_by_role("tab").all_inner_texts() == ["Overview", "Glossary"]
