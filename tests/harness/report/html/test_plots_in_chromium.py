"""What plots show, name and offer; and that their colours can be seen on either ground."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rerank_bench.evaluation import MEASURES, Evaluation, records, results_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenReport = Callable[..., "Page"]
PLOTS = ("gains", "cost", "headroom", "quality", "ranks", "orders")


def settled(page: Page) -> None:
    page.wait_for_timeout(300)


def texts(page: Page, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


def layout(page: Page, section: str, path: str) -> Any:
    return page.evaluate(f"document.querySelector('#{section} .plot')._fullLayout.{path}")


def with_rerankers(found: Evaluation, n: int, *, at: float = 0.1) -> Evaluation:
    """The first task alone, with n equally good rerankers at much the same price, and a floor."""
    template = {
        (r["profile"], r["reranker"]): r
        for r in records(found.results.rows(MEASURES[0]))
        if r["task"] == "Nano/de"
    }
    rows = [
        template[profile, "good"]
        | {
            "reranker": f"reranker-{i:02}",
            "natural": 0.6 + i * at / n,
            "seconds_per_query": 1.0 + i % 4,
        }
        for profile in ("bm25", "dense")
        for i in range(n)
    ]
    floor = template["bm25", "random"] | {"seconds_per_query": 0.0, "natural": 0.01}
    return replace(found, results=results_of([*rows, floor]), means=results_of([]), groups=())


def test_a_plots_toolbar_saves_a_picture_and_goes_back_and_offers_nothing_else(page: Page) -> None:
    for name in PLOTS:
        buttons = page.locator(f"#{name} .modebar-btn")
        titles = buttons.evaluate_all("all => all.map(e => e.dataset.title ?? e.ariaLabel)")
        assert titles == ["Download plot as a PNG", "Reset axes"], name
        assert page.locator(f"#{name} .modebar a[href], #{name} .plotlyjsicon").count() == 0


def test_where_nothing_is_tested_the_legend_says_so(page: Page) -> None:
    assert "not starred" in texts(page, "#gains .legendtext")
    page.get_by_text("safeguarded", exact=True).first.click()
    settled(page)
    legend = texts(page, "#gains .legendtext")
    assert "not tested" in legend
    assert not {"starred", "not starred"} & set(legend)


def test_the_heat_map_which_is_natural_keeps_its_order_under_the_switch(
    open_report: OpenReport, found: Evaluation
) -> None:
    rows = records(found.results.rows())
    turned = [row | {"gain_safeguarded": -row["gain"]} for row in rows]
    page = open_report(replace(found, results=results_of(turned)))
    natural = layout(page, "headroom", "xaxis.ticktext")
    assert natural[0] == "good"
    page.get_by_text("safeguarded", exact=True).first.click()
    settled(page)
    assert layout(page, "headroom", "xaxis.ticktext") == natural


def boxes(page: Page) -> list[Any]:
    return page.locator("#cost .annotation-text-g text").evaluate_all(
        """all => all.filter(e => e.textContent !== "free").map(e => {
          const box = e.getBoundingClientRect();
          return [box.left, box.right, box.top + 2, box.bottom - 2, e.textContent];
        })"""
    )


def test_a_few_points_of_the_cost_plot_bear_their_names_and_none_covers_another(
    open_report: OpenReport, found: Evaluation
) -> None:
    page = open_report(with_rerankers(found, 6))
    told = boxes(page)
    names = [f"reranker-{i:02}" for i in range(6)] * 2 + ["first stage: bm25", "first stage: dense"]
    assert sorted(text for *_, text in told) == sorted(names)
    for one, other in itertools.combinations(told, 2):
        beside = one[1] <= other[0] or other[1] <= one[0]
        over = one[3] <= other[2] or other[3] <= one[2]
        assert beside or over, (one, other)


def test_many_points_bear_numbers_that_the_note_explains(
    open_report: OpenReport, found: Evaluation
) -> None:
    page = open_report(with_rerankers(found, 20))
    told = [text for *_, text in boxes(page) if text.isdecimal()]
    note = page.locator("#cost figure > p").inner_text()
    assert told
    assert all(f"{number} \u2068reranker-" in note for number in told)


def test_a_cost_plots_axis_fits_what_is_real_and_the_note_tells_of_the_floors(
    open_report: OpenReport, found: Evaluation
) -> None:
    page = open_report(with_rerankers(found, 6))
    low, high = layout(page, "cost", "yaxis.range")
    assert 0.3 < low < 0.41
    assert 0.68 < high < 0.8
    assert "Left out: 1 floor at 0.0100" in page.locator("#cost figure > p").inner_text()
    page.locator("#cost").get_by_label("Floors").select_option("shown")
    settled(page)
    assert layout(page, "cost", "yaxis.range")[0] < 0.01
    assert "Left out" not in page.locator("#cost figure > p").inner_text()


def test_gains_against_quality_start_without_floors_best_reranker_first(page: Page) -> None:
    names = texts(page, "#quality .legendtext")
    assert names[0] == "good"
    assert "random" not in names
    page.locator("#quality").get_by_label("Floors").select_option("shown")
    settled(page)
    assert texts(page, "#quality .legendtext")[-1] == "random"


CONTRASTS = """(section) => {
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const numbers = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const ground = light(numbers(getComputedStyle(document.body).backgroundColor));
  return [...document.querySelectorAll(`${section} .points path`)].map((point) => {
    const { stroke, fill } = getComputedStyle(point);
    const line = light(numbers(stroke === "none" ? fill : stroke));
    return (Math.max(line, ground) + 0.05) / (Math.min(line, ground) + 0.05);
  });
}"""


def test_in_the_dark_series_are_light_and_on_paper_dark_again(page: Page) -> None:
    for name in ("gains", "cost", "quality", "ranks"):
        page.emulate_media(color_scheme="dark")
        settled(page)
        assert min(page.evaluate(CONTRASTS, f"#{name}")) > 5.5, name
    middle = page.locator("#headroom .plot").evaluate("e => e.data[0].colorscale[2][1]")
    assert middle == "#262c32"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    settled(page)
    assert page.locator("#headroom .plot").evaluate("e => e.data[0].colorscale[2][1]") == "#f7f7f7"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    settled(page)
    assert min(page.evaluate(CONTRASTS, "#quality")) > 5.5
    page.get_by_label("Colours").select_option("light")
    settled(page)
    assert page.locator("#headroom .plot").evaluate("e => e.data[0].colorscale[2][1]") == "#f7f7f7"
