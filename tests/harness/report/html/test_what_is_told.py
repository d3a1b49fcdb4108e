"""What the page says of its numbers: where fronts start, what is fake, what filters leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rerank_bench.evaluation import Evaluation, records, results_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenReport = Callable[[Evaluation], "Page"]


def table(page: Page, section: str) -> list[dict[str, str]]:
    """The rows of a section's first table, by column."""
    heads = page.locator(f"#{section} thead th").evaluate_all(
        "all => all.map(e => e.dataset.column)"
    )
    rows = page.locator(f"#{section} tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.innerText.trim()))"
    )
    return [dict(zip(heads, row, strict=True)) for row in rows]


def data(page: Page, section: str) -> dict[str, dict[str, str]]:
    """The data of a section's plot, by reranker; of one profile."""
    page.locator(f"#{section}").get_by_text("Table of this plot").click()
    page.locator(f"#{section} tbody tr").first.wait_for()
    return {row["reranker"]: row for row in table(page, section) if row["profile"] == "bm25"}


def pick(page: Page, name: str, value: str) -> None:
    page.locator(f'[data-filter="{name}"] summary').click()
    page.locator(f'[data-filter="{name}"]').get_by_label(value).check()
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)


def changed(found: Evaluation, **good: Any) -> Evaluation:
    """The same report with other values of the reranker `good`, in tasks and means."""
    both = (
        results_of([row | (good if row["reranker"] == "good" else {}) for row in records(r.rows())])
        for r in (found.results, found.means)
    )
    results, means = both
    return replace(found, results=results, means=means)


def test_a_front_starts_at_the_first_stage_and_nothing_worse_is_on_it(page: Page) -> None:
    page.locator("#cost").get_by_label("On", exact=True).select_option("slow metal")
    page.wait_for_timeout(300)
    told = data(page, "cost")
    assert told["first stage"]["value"] == "0.4000"
    assert (told["first stage"]["front"], told["harmful"]["front"]) == ("yes", "–")
    assert page.locator("#cost .plot text", has_text="first stage: bm25").count() == 1


def test_the_fake_engine_is_marked_wherever_its_numbers_stand_and_on_no_front(
    open_report: OpenReport, found: Evaluation
) -> None:
    page = open_report(changed(found, engine="fake"))
    for section in ("means", "tasks", "strata", "latencies", "claims", "queries"):
        marked = [row["reranker"] for row in table(page, section) if "good" in row["reranker"]]
        assert marked, section
        assert all("fake engine" in name for name in marked), section
    cost = data(page, "cost")["good"]
    assert (cost["kind"], cost["front"]) == ("fake engine", "–")
    assert data(page, "gains")["good"]["kind"] == "fake engine"
    assert page.locator("#gains .legend", has_text="fake engine").count() == 1
    assert "Best is good" not in page.locator("#summary").inner_text()


def test_what_does_not_compare_is_on_no_front_and_says_so(
    open_report: OpenReport, found: Evaluation
) -> None:
    page = open_report(changed(found, apart=True, first_stage=0.1))
    last = [row["reranker"] for row in table(page, "tasks") if row["profile"] == "bm25"]
    assert "good" in last[len(last) // 2 - 1]  # of two tasks, the first one's last
    assert "not comparable" in last[len(last) // 2 - 1]
    assert data(page, "gains")["good"]["kind"] == "not comparable"
    told = data(page, "cost")
    assert told["good"]["kind"] == "not comparable"
    assert told["good"]["front"] == "–"
    assert told["first stage"]["value"] == "0.4000"


def test_prices_and_gpu_seconds_are_columns_and_costs_where_a_row_has_them(
    open_report: OpenReport, found: Evaluation, page: Page
) -> None:
    assert not {"gpu", "price"} & table(page, "tasks")[0].keys()
    costs = page.locator("#cost").get_by_label("Cost", exact=True)
    assert "price" not in costs.inner_text()
    other = open_report(changed(found, gpu_seconds=0.5, price=0.00123))
    row = next(row for row in table(other, "tasks") if row["reranker"] == "good")
    assert (row["gpu"], row["price"]) == ("0.500", "1.23")
    other.locator("#cost").get_by_label("Cost", exact=True).select_option("price")
    other.wait_for_timeout(300)
    assert {name: row["cost"] for name, row in data(other, "cost").items()} == {
        "first stage": "0",
        "good": "1.23",
    }


def test_captions_change_with_the_switch(page: Page) -> None:
    captions = {name: page.locator(f"#{name} figcaption") for name in ("means", "tasks", "gains")}
    assert "natural minus first stage" in captions["tasks"].inner_text()
    assert "takes the tasks as fixed" in captions["means"].inner_text()
    page.get_by_text("safeguarded", exact=True).first.click()
    page.wait_for_timeout(300)
    for name, caption in captions.items():
        assert "natural" not in caption.inner_text(), name
        assert "interval takes" not in caption.inner_text(), name
    assert "safeguarded minus first stage" in captions["tasks"].inner_text()
    assert "natural" in page.locator("#summary h2").inner_text()


def test_the_sentences_and_the_counts_follow_the_filters(page: Page) -> None:
    scope, told = page.locator("#scope"), page.locator("#summary > ul li")
    assert scope.inner_text() == "2 tasks, 2 profiles, 5 rerankers"
    assert told.count() == 2
    pick(page, "profile", "dense")
    assert [text.partition(":")[0] for text in told.all_inner_texts()] == ["Nano after dense"]
    assert scope.inner_text() == "2 tasks, 1 of 2 profiles, 5 rerankers"
    page.get_by_label("Task contains").fill("/en")
    page.wait_for_timeout(300)
    assert scope.inner_text() == "1 of 2 tasks, 1 of 2 profiles, 5 rerankers"
    page.get_by_label("Task contains").fill("nothing")
    page.wait_for_timeout(300)
    assert told.all_inner_texts() == ["Nothing fits the filters."]


def test_what_was_left_out_is_told_after_the_sentences(
    page: Page, open_report: OpenReport, found: Evaluation
) -> None:
    assert page.locator("#summary .left-out li").all_inner_texts() == list(found.left_out)
    page = open_report(replace(found, left_out=()))
    assert page.locator("#summary .left-out").is_hidden()


def test_an_opened_query_has_its_heading_below_the_filters(fresh: Page) -> None:
    for width in (1800, 1040, 800):
        fresh.set_viewport_size({"width": width, "height": 500})
        fresh.locator("#queries").get_by_role("button", name="open").first.click()
        heading = fresh.locator("#query h2").bounding_box()
        bar = fresh.locator("#filters").bounding_box()
        assert heading is not None
        assert bar is not None
        assert max(bar["y"] + bar["height"], 0) <= heading["y"] < 400, width
